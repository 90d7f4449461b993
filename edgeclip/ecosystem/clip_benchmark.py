"""``clip_benchmark eval --model_type edgeclip --model BUNDLE``: anything that edgeclip opens, in CLIP_benchmark.

CLIP_benchmark (1.6) has no plug-ins of its own: its model types are a table in a module. PyTorch has: it calls the
entry points of the group ``torch.backends`` when it is imported. Ours does nothing, unless the program that runs is
``clip_benchmark``; then it adds a row to that table. TORCH_DEVICE_BACKEND_AUTOLOAD=0 turns it off; other programs
call :func:`register`.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from ..encoder import PixelEncoder

MODEL_TYPE = "edgeclip"
PROGRAM = "clip_benchmark"


def autoload() -> None:
    """What PyTorch calls when it is imported."""
    if Path(sys.argv[0] if sys.argv else "").stem == PROGRAM and find_spec(PROGRAM):
        register()


def register() -> None:
    """Make ``edgeclip`` a model type of CLIP_benchmark in this process."""
    from clip_benchmark import models
    from clip_benchmark.metrics import zeroshot_classification

    zeroshot_classification.float = number
    if MODEL_TYPE not in models.TYPE2FUNC:
        models.TYPE2FUNC[MODEL_TYPE] = load
        models.MODEL_TYPES.append(MODEL_TYPE)


def number(value: Any) -> float:
    """``float()`` as it was before numpy 2.4 refused arrays of one element, on which CLIP_benchmark and open_clip rest.

    They call ``float(array)`` to count hits, so their evaluation ends in a TypeError; put in place of ``float`` in
    their modules this gives what they mean.
    """
    return builtins.float(value.item() if getattr(value, "size", None) == 1 else value)


def load(model_name: str, **_: Any) -> tuple[Model, Callable[[Image.Image], torch.Tensor], Callable[..., torch.Tensor]]:
    """Model, transform and tokenizer as CLIP_benchmark wants them; ``model_name`` is what ``edgeclip.load`` takes."""
    import edgeclip

    from ..base.errors import EdgeclipError
    from ..encoder import PixelEncoder

    encoder = edgeclip.load(model_name)
    if not isinstance(encoder, PixelEncoder):
        raise EdgeclipError(f"{model_name} takes decoded images, CLIP_benchmark gives tensors: use edgeclip eval")
    model = Model(encoder)
    return model, model.transform, model.tokenize


class Model:
    """A PixelEncoder in the dress of a torch model. Texts are tokenized by the encoder, so their "tokens" are numbers
    under which the texts are kept."""

    def __init__(self, encoder: PixelEncoder) -> None:
        self.encoder = encoder
        self._texts: dict[str, int] = {}

    def eval(self) -> Model:
        """It always is in evaluation mode."""
        return self

    def transform(self, image: Image.Image) -> torch.Tensor:
        """One preprocessed image, float32 ``[3, S, S]``."""
        import torch

        return torch.from_numpy(self.encoder.preprocess([image])[0])

    def tokenize(self, texts: str | Sequence[str]) -> torch.Tensor:
        """A number for each text, int64 ``[N]``."""
        import torch

        wanted = [texts] if isinstance(texts, str) else texts
        return torch.tensor([self._texts.setdefault(text, len(self._texts)) for text in wanted], dtype=torch.int64)

    def encode_text(self, tokens: torch.Tensor) -> torch.Tensor:
        """float32 ``[N, D]``, on the tokens' device."""
        import torch

        known = list(self._texts)
        return torch.from_numpy(self.encoder.encode_text([known[n] for n in tokens.tolist()])).to(tokens.device)

    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        """float32 ``[N, 3, S, S]`` -> float32 ``[N, D]``, on the pixels' device."""
        import torch

        return torch.from_numpy(self.encoder.encode_pixels(pixels.cpu().float().numpy())).to(pixels.device)
