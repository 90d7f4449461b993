"""The one place where image files are opened: what a hostile or damaged one does ends here, in one line."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from .errors import EdgeclipError

Picture = Image.Image | Path | str  # decoded, or the file that it lies in
DEEP = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")  # grey of more than 8 bits, as Pillow calls them
# What it takes at most to decode and resize a pixel, bytes, measured: Pillow holds three colours in four bytes, resizes
# transparent images in a copy, and the decoders of these formats keep pictures, or coefficients, of their own.
BYTES_A_PIXEL = {"1": 1, "L": 1, "P": 1, "I;16": 2, "LA": 8, "RGBA": 8, "PA": 8}
OF_FORMAT = {"WEBP": 16, "AVIF": 16, "JPEG": 7}
# A small file that takes so much memory, or a large one that takes a thousand times its size, is made to fill it.
SMALL, MOST, RATIO = 1_000_000, 190_000_000, 1000
BAND = 1 << 20  # pixels that are looked at together

# What Pillow warns of is refused here, or is odd metadata, which nobody looks at. Once for all: to catch warnings image
# by image is not safe where threads open them.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", module=r"PIL\.")


class UnreadableImage(EdgeclipError):
    """An image file that is missing, damaged, too large, or of a kind that nobody can tell the colours of."""


def as_images(images: Picture | Sequence[Picture]) -> list[Image.Image]:
    """What ``encode_image`` embeds: pictures, or the files that they lie in; one alone is a batch of one.

    Raises:
        UnreadableImage: a file holds none.
    """
    several = [images] if isinstance(images, (str, Path, Image.Image)) else list(images)
    return [picture if isinstance(picture, Image.Image) else read_image(Path(picture)) for picture in several]


def read_image(file: Path | IO[bytes], name: str | None = None) -> Image.Image:
    """Decode an image file, an animation's first picture; ``name`` is what to call an open one.

    Raises:
        UnreadableImage: see there.
    """
    name = name or str(file)
    try:
        if isinstance(file, Path):
            if file.exists() and not file.is_file():  # a pipe would be waited for, for ever
                raise EdgeclipError("no plain file")
            with file.open("rb") as opened:
                return _decoded(opened)
        return _decoded(file)
    except FileNotFoundError:
        raise UnreadableImage(f"{name}: no such image") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        limit = (Image.MAX_IMAGE_PIXELS or 0) / 1e6
        raise UnreadableImage(f"{name}: over {limit:.0f} million pixels: not decoded, make it smaller") from None
    except EdgeclipError as error:
        raise UnreadableImage(f"{name}: {error}") from None
    except MemoryError:
        raise UnreadableImage(f"{name}: there is not enough memory to decode it: make it smaller") from None
    except Exception as error:  # Pillow's decoders raise whatever a damaged file makes them trip over
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UnreadableImage(f"{name}: not an image that can be read ({reason})") from error


def _decoded(file: IO[bytes]) -> Image.Image:
    size = file.seek(0, 2)
    file.seek(0)
    _register_heif()
    with Image.open(file) as image:
        pixels, memory = image.width * image.height, _memory(image)
        if pixels > (Image.MAX_IMAGE_PIXELS or pixels):
            raise Image.DecompressionBombError
        if memory > MOST and (size < SMALL or memory > RATIO * size):
            size_words = f"{pixels / 1e6:.0f} million pixels out of {size} bytes"
            raise EdgeclipError(f"{size_words}: not decoded, make it smaller")
        image.load()
        if image.mode in DEEP:
            grey_white(image)
        return image


@lru_cache(maxsize=1)
def _register_heif() -> None:
    """Pillow reads HEIC where ``edgeclip[heif]`` is installed."""
    if find_spec("pillow_heif"):
        import pillow_heif

        pillow_heif.register_heif_opener()


def _memory(image: Image.Image) -> int:
    """What decoding and resizing it may take, bytes."""
    each = max(BYTES_A_PIXEL.get(image.mode, 5), OF_FORMAT.get(image.format or "", 0))
    return image.width * image.height * each


def grey_white(image: Image.Image) -> float:
    """The value of white in a grey image of more than 8 bits.

    Whole numbers beyond 255 are of 16 bits; floating-point ones are of 0..1, or of 0..255 where one is larger than 1.

    Raises:
        EdgeclipError: numbers that are below 0, not finite, or of neither range: nobody knows what is white.
    """
    if image.mode.startswith("I;16"):
        return 65535.0
    low, high = _extremes(image)
    whites = (1.0, 255.0) if image.mode == "F" else (255.0, 65535.0)
    white = next((white for white in whites if high <= white), None)
    if white is None or not low >= 0:
        raise EdgeclipError(f"a grey image of values from {low:.3g} to {high:.3g}: save it with 8 or 16 bits")
    return white


def _extremes(image: Image.Image) -> tuple[float, float]:
    """The smallest and the largest value, NaN if any is: Pillow's own ``getextrema`` overlooks NaN."""
    rows = max(1, BAND // image.width)
    extremes: list[Any] = []
    for top in range(0, image.height, rows):
        band = np.asarray(image.crop((0, top, image.width, min(top + rows, image.height))))
        extremes += [band.min(), band.max()]
    return float(np.min(extremes)), float(np.max(extremes))
