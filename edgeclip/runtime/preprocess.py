"""From an image file to the tower's input, as open_clip's inference transform does it, with Pillow and numpy."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import EdgeclipError

if TYPE_CHECKING:
    from .manifest import Preprocess

DEEP = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")  # grey of more than 8 bits, as Pillow calls them
FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def read_image(file: Path | IO[bytes], name: str | None = None) -> Image.Image:
    """Decode an image file; ``name`` is what to call an open one.

    Raises:
        EdgeclipError: it is missing, empty, no image, cut short, or so large that Pillow takes it for a bomb.
    """
    name = name or str(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file) as image:
                image.load()
                scaled_grey(image)  # here a mistake of the file's can be told
                return image
    except FileNotFoundError:
        raise EdgeclipError(f"{name}: no such image") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        limit = (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise EdgeclipError(f"{name}: over {limit:.0f} million pixels: not decoded, make it smaller") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise EdgeclipError(f"{name}: not an image that can be read ({error})") from error


def scaled_grey(image: Image.Image) -> Image.Image:
    """Grey images of more than 8 bits with their white at 255; others as they are.

    Whole numbers beyond 255 are of 16 bits; floating-point ones are of 0..1, or of 0..255 where one is larger than 1.

    Raises:
        ValueError: numbers that are below 0, not finite, or of neither range: nobody knows what is white.
    """
    if image.mode not in DEEP:
        return image
    values = np.asarray(image, np.float32)
    low, high = float(values.min()), float(values.max())
    whites = (1.0, 255.0) if image.mode == "F" else (255.0, 65535.0)
    white = next((white for white in whites if high <= white), None)
    if image.mode.startswith("I;16"):
        white = 65535.0
    if white is None or not low >= 0:
        raise ValueError(f"a grey image of values from {low:.3g} to {high:.3g}: save it with 8 or 16 bits")
    return image if white == 255.0 else Image.fromarray(values * np.float32(255 / white))


class Preprocessor:
    """Resize, crop or pad to a square, convert to RGB, scale to [0, 1], normalise.

    Like open_clip, it resizes before it converts, and takes no notice of EXIF orientation. Unlike it, grey images of
    more than 8 bits are scaled first, see :func:`scaled_grey`: open_clip cuts them at 255 (white, or black).
    """

    def __init__(self, settings: Preprocess) -> None:
        self.settings = settings
        self._scale = (1 / (255 * np.asarray(settings.std, np.float32))).reshape(3, 1, 1)
        self._shift = (-np.asarray(settings.mean, np.float32) / np.asarray(settings.std, np.float32)).reshape(3, 1, 1)

    def __call__(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """float32 ``[N, 3, size, size]``."""
        size = self.settings.size
        pixels = np.empty((len(images), 3, size, size), np.float32)
        for row, image in enumerate(images):
            rgb = np.asarray(self.square(image), np.float32).transpose(2, 0, 1)
            np.multiply(rgb, self._scale, out=pixels[row])
            pixels[row] += self._shift
        return pixels

    def square(self, image: Image.Image) -> Image.Image:
        """The RGB square of ``size`` pixels a side that the tower is to see."""
        image = scaled_grey(image)
        size, mode = self.settings.size, self.settings.resize_mode
        if mode == "squash":
            return self._resize(image, size, size).convert("RGB")
        width, height = image.size
        if mode == "shortest":
            short, long = min(width, height), max(width, height)
            other = int(size * long / short)
            image = self._resize(image, *((size, other) if width <= height else (other, size)))
        else:
            ratio = max(width / size, height / size)
            image = self._resize(image, max(1, round(width / ratio)), max(1, round(height / ratio)))
        return self._centre(image).convert("RGB")

    def _resize(self, image: Image.Image, width: int, height: int) -> Image.Image:
        if image.size == (width, height):
            return image
        return image.resize((width, height), FILTERS[self.settings.interpolation])

    def _centre(self, image: Image.Image) -> Image.Image:
        """Crop the middle, or pad around it where the image is smaller than the square."""
        size = self.settings.size
        width, height = image.size
        if width < size or height < size:
            fill = (self.settings.fill_color,) * len(image.getbands())  # in the image's own mode, as open_clip fills
            canvas = Image.new(image.mode, (max(width, size), max(height, size)), fill)
            canvas.paste(image, (max(0, size - width) // 2, max(0, size - height) // 2))
            image, (width, height) = canvas, canvas.size
        left, top = round((width - size) / 2), round((height - size) / 2)
        return image.crop((left, top, left + size, top + size))
