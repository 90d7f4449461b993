"""From a decoded image to the tower's input, as open_clip's inference transform does it, with Pillow and numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..base.decode import DEEP, grey_white

if TYPE_CHECKING:
    from .manifest import Preprocess

FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
REACH = 4  # source pixels beside the middle that its enlargement may look at, and some
LONG = 64  # sides of the square: a strip that would be longer than these is cropped before it is enlarged
PREMULTIPLIED = {"RGBA": "RGBa", "LA": "La"}  # how Pillow resizes an image with an alpha channel
ORIENTATION = 0x0112  # the EXIF tag
UPRIGHT = {  # its value -> what sets the picture upright, EXIF 2.32, 4.6.4
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Preprocessor:
    """Resize, crop or pad to a square, convert to RGB, scale to [0, 1], normalise.

    Like open_clip, it resizes before it converts, and takes no notice of EXIF orientation and of transparency (what
    transparent pixels hide is seen: often black) unless told to. Three things
    are not open_clip's: grey images of more than 8 bits are scaled, see :func:`~edgeclip.base.decode.grey_white`,
    where open_clip cuts them at 255 (white, or black); long strips are cropped before they are enlarged, which is the
    same to 1/255 and takes no gigabytes (of palette and one-bit images, a pixel that lies between two may be the
    other); a strip that open_clip shrinks to no pixels at all keeps one.
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
        """The RGB square of ``size`` pixels a side that the tower is to see.

        Raises:
            EdgeclipError: a deep grey image of which nobody knows what is white.
        """
        square = self._fitted(image)
        if image.mode in DEEP:
            square = Image.fromarray(np.asarray(square, np.float32) * np.float32(255 / grey_white(image)))
        exif = getattr(self.settings, "exif", "ignore")  # the plain manifests of older bundles do not tell
        if exif == "apply":
            square = upright(square, of=image)  # not the image: as good, and no second copy of a large one
        return square.convert("RGB")

    def _fitted(self, image: Image.Image) -> Image.Image:
        """The square, in the image's own mode."""
        size, mode = self.settings.size, self.settings.resize_mode
        if mode == "squash":
            return self._resize(image, size, size)
        width, height = image.size
        if mode == "longest":
            ratio = max(width / size, height / size)
            return self._centre(self._resize(image, max(1, round(width / ratio)), max(1, round(height / ratio))))
        short, long = min(width, height), max(width, height)
        other = int(size * long / short)
        wanted = (size, other) if width <= height else (other, size)
        if short < size and other > LONG * size:
            return self._middle(image, *wanted)
        return self._centre(self._resize(image, *wanted))

    def _resize(self, image: Image.Image, width: int, height: int) -> Image.Image:
        if image.size != (width, height):
            image = image.resize((width, height), FILTERS[self.settings.interpolation])
        return self._grounded(image)

    def _grounded(self, image: Image.Image) -> Image.Image:
        """What is transparent, on the ground; once resized, which is as good: Pillow weighs colours by their alpha."""
        ground = getattr(self.settings, "ground", None)
        return on_ground(image, ground) if ground else image

    def _middle(self, image: Image.Image, width: int, height: int) -> Image.Image:
        """What the middle of ``image`` enlarged to ``width`` x ``height`` would be: the rest is never made."""
        size = self.settings.size
        left, top = round((width - size) / 2), round((height - size) / 2)
        x, y = image.width / width, image.height / height  # source pixels a pixel
        box = (left * x, top * y, (left + size) * x, (top + size) * y)
        start = max(0, int(box[0]) - REACH), max(0, int(box[1]) - REACH)
        stop = min(image.width, int(box[2]) + REACH + 1), min(image.height, int(box[3]) + REACH + 1)
        part = image.crop((*start, *stop))
        if image.mode in PREMULTIPLIED:
            part = part.convert(PREMULTIPLIED[image.mode])
        across = box[0] - start[0], 0, box[2] - start[0], part.height
        down = 0, box[1] - start[1], size, box[3] - start[1]
        kind = FILTERS[self.settings.interpolation]
        # First across and then down: as Pillow does it, which clips and rounds in between.
        square = part.resize((size, part.height), kind, box=across).resize((size, size), kind, box=down)
        return self._grounded(square.convert(image.mode) if image.mode in PREMULTIPLIED else square)

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


def upright(picture: Image.Image, *, of: Image.Image) -> Image.Image:
    """``picture``, made of the image ``of``, turned as that one's EXIF orientation says."""
    turn = UPRIGHT.get(_orientation(of))
    return picture if turn is None else picture.transpose(turn)


def on_ground(image: Image.Image, ground: str) -> Image.Image:
    """``image`` over a plain ground, ``rrggbb``, where it is transparent: "over", Porter and Duff, SIGGRAPH 1984."""
    if image.mode in DEEP or not image.has_transparency_data:
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, f"#{ground}"), image.convert("RGBA")).convert("RGB")


def _orientation(image: Image.Image) -> int:
    """What the camera wrote; 1, upright, where that cannot be read."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # Pillow's reader raises whatever damaged metadata makes it trip over
        return 1
