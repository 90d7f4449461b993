"""The texts of a bundle that has no text tower: their embeddings were made where it was exported."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.errors import EdgeclipError, FormatError
from ..base.visible import some_of
from .tensors import read_tensors

SHOWN_PHRASES = 5


class Phrases:
    """Known texts and their embeddings; the first ``labels`` of them are the class names as they were given."""

    def __init__(self, folder: Path, entry: Mapping[str, Any]) -> None:
        """Read ``entry`` of a bundle's manifest, as data.

        Raises:
            FormatError: the file is damaged.
        """
        tensors, _ = read_tensors(folder / entry["file"])
        try:
            texts = json.loads(tensors["texts"].tobytes().decode("utf-8"))
            self._embeds: NDArray[np.float32] = tensors["embeds"]
            self._rows = {text: row for row, text in enumerate(texts)}
            self.labels: list[str] = texts[: int(entry["labels"])]
            if len(texts) != len(self._embeds):
                raise ValueError(f"{len(texts)} texts, {len(self._embeds)} embeddings")
        except (KeyError, ValueError, TypeError) as error:
            raise FormatError(f"{folder / entry['file']}: damaged ({error}): copy the bundle again") from error

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 ``[N, D]``, L2-normalised.

        Raises:
            EdgeclipError: a text that it was not exported with.
        """
        unknown = [text for text in texts if text not in self._rows]
        if unknown:
            known = some_of(self.labels, SHOWN_PHRASES)
            raise EdgeclipError(
                f"{unknown[0]!r} is not one of the {len(self.labels)} classes that this bundle knows ({known}), "
                "and it has no text tower for other words"
            )
        return self._embeds[[self._rows[text] for text in texts]]
