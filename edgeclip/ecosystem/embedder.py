"""``encode()`` as sentence-transformers has it: for vector stores, clustering and whatever else asks for it.

::

    from edgeclip.ecosystem.embedder import Embedder

    model = Embedder("bundles/mine")
    vectors = model.encode(["a cat", Image.open("cat.jpg")])     # float32 [2, D]
    model.similarity(vectors, vectors)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..base.errors import require
from ..encoder import Encoder

if TYPE_CHECKING:
    from torch import Tensor

Item = str | Image.Image


class Embedder:
    """An encoder behind sentence-transformers' names. Texts and images may be mixed: they share one space."""

    similarity_fn_name = "cosine"

    def __init__(self, model: str | Path | Encoder) -> None:
        """``model`` is an encoder, or what ``edgeclip.load`` takes."""
        if isinstance(model, Encoder):
            self.encoder: Encoder = model
        else:
            import edgeclip

            self.encoder = edgeclip.load(model)

    def get_sentence_embedding_dimension(self) -> int:
        """D."""
        return self.encoder.embed_dim

    def encode(
        self,
        sentences: Item | Sequence[Item],
        batch_size: int = 32,
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        **_: Any,
    ) -> NDArray[np.float32] | list[NDArray[np.float32]] | Tensor:
        """Embeddings float32 ``[N, D]``, or ``[D]`` of a single text or image; always L2-normalised.

        ``convert_to_tensor`` gives a torch tensor, ``convert_to_numpy=False`` a list of rows. What else
        sentence-transformers takes (a progress bar, a device, prompts) is accepted and has no meaning here.
        """
        single = isinstance(sentences, (str, Image.Image))
        items: Sequence[Item] = [sentences] if single else list(sentences)  # type: ignore[list-item, arg-type]
        embeds = np.empty((len(items), self.encoder.embed_dim), np.float32)
        texts = [row for row, item in enumerate(items) if isinstance(item, str)]
        images = [row for row, item in enumerate(items) if not isinstance(item, str)]
        towers: list[tuple[list[int], Callable[[list[Any]], NDArray[np.float32]]]]
        towers = [(texts, self.encoder.encode_text), (images, self.encoder.encode_image)]
        for rows, encode in towers:
            for start in range(0, len(rows), batch_size):
                some = rows[start : start + batch_size]
                embeds[some] = encode([items[row] for row in some])
        rows_or_row = embeds[0] if single else embeds
        if convert_to_tensor:
            return require("torch", "distill").from_numpy(rows_or_row)  # type: ignore[no-any-return]
        return rows_or_row if convert_to_numpy or single else list(embeds)

    def similarity(self, embeds: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
        """Cosines of all pairs, float32 ``[N, M]``."""
        return np.asarray(np.atleast_2d(embeds) @ np.atleast_2d(other).T)
