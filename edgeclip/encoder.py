"""The one protocol: teacher, student, ONNX session and engine all satisfy it, so one function measures them all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    Embeddings = NDArray[np.float32]


@runtime_checkable
class Encoder(Protocol):
    """Maps images and texts into one space. Preprocessing and tokenization are the encoder's own."""

    embed_dim: int

    def encode_image(self, images: Sequence[Image.Image]) -> Embeddings:
        """Embed ``N`` decoded images of any size and mode: float32 ``[N, embed_dim]``, L2-normalised."""
        ...

    def encode_text(self, texts: str | Sequence[str]) -> Embeddings:
        """Embed ``N`` texts, one where it is given alone: float32 ``[N, embed_dim]``, L2-normalised."""
        ...


def as_texts(texts: str | Sequence[str]) -> list[str]:
    """What ``encode_text`` embeds: one text alone is a batch of one, and not one text a letter."""
    return [texts] if isinstance(texts, str) else list(texts)


@runtime_checkable
class PixelEncoder(Encoder, Protocol):
    """An encoder whose image tower can be fed and timed by itself: every one of ours."""

    image_size: int  # side of the square input, pixels

    @property
    def runtime(self) -> str:
        """What executes it, with its version: "onnxruntime 1.32.0", "torch 2.15.0"."""
        ...

    @property
    def image_bytes(self) -> int:
        """The image tower as stored, bytes."""
        ...

    @property
    def logit_scale(self) -> float:
        """What cosine similarities are multiplied by."""
        ...

    def preprocess(self, images: Sequence[Image.Image]) -> Embeddings:
        """The tower's input for ``N`` decoded images: float32 ``[N, 3, image_size, image_size]``."""
        ...

    def encode_pixels(self, pixels: Embeddings) -> Embeddings:
        """Embed preprocessed pixels: float32 ``[N, 3, S, S]`` -> float32 ``[N, embed_dim]``, L2-normalised."""
        ...
