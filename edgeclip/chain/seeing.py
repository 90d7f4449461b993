"""An encoder of pictures that are first set upright, or laid on a ground, as a bundle that it is compared with does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from PIL import Image

from ..base.decode import Picture, as_images
from ..base.errors import EdgeclipError
from ..encoder import Encoder, PixelEncoder
from ..runtime.preprocess import on_ground, upright

if TYPE_CHECKING:
    from ..encoder import Embeddings


def seeing(encoder: Encoder, *, exif: Literal["apply", "ignore"] = "ignore", ground: str | None = None) -> Encoder:
    """``encoder``, of pictures as :class:`~edgeclip.runtime.manifest.Preprocess` says; it may do the same itself.

    Raises:
        EdgeclipError: ``ground`` is no colour.
    """
    if exif == "ignore" and not ground:
        return encoder
    if ground and not re.fullmatch("[0-9a-f]{6}", ground):
        raise EdgeclipError(f"{ground!r} is no colour: six hexadecimal digits, rrggbb, as ffffff for white")
    return (SeeingPixels if isinstance(encoder, PixelEncoder) else Seeing)(encoder, exif == "apply", ground)


class Seeing:
    """See :func:`seeing`; all else is the encoder's."""

    def __init__(self, encoder: Encoder, turned: bool, ground: str | None) -> None:
        self._encoder, self._turned, self._ground = encoder, turned, ground
        self.embed_dim = encoder.embed_dim

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def encode_image(self, images: Picture | Sequence[Picture]) -> Embeddings:
        """See :class:`~edgeclip.encoder.Encoder`."""
        return self._encoder.encode_image([self._seen(image) for image in as_images(images)])

    def encode_text(self, texts: str | Sequence[str]) -> Embeddings:
        """See :class:`~edgeclip.encoder.Encoder`."""
        return self._encoder.encode_text(texts)

    def _seen(self, image: Image.Image) -> Image.Image:
        turned = upright(image, of=image) if self._turned else image
        return on_ground(turned, self._ground) if self._ground else turned


class SeeingPixels(Seeing):
    """The same of an encoder whose tower is fed by itself."""

    _encoder: PixelEncoder

    def preprocess(self, images: Sequence[Image.Image]) -> Embeddings:
        """See :class:`~edgeclip.encoder.PixelEncoder`."""
        return self._encoder.preprocess([self._seen(image) for image in images])
