import io
import struct
import zlib

import numpy as np
import open_clip
import pytest
from PIL import Image

from edgeclip.errors import EdgeclipError
from edgeclip.runtime.manifest import Preprocess
from edgeclip.runtime.preprocess import Preprocessor, read_image

draw = np.random.default_rng(0)


def odd_image(mode, size):
    width, height = size
    noise = draw.integers(0, 256, (height, width, 4), dtype=np.uint8)
    return Image.fromarray(noise, "RGBA").convert(mode)


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated:DeprecationWarning")
@pytest.mark.parametrize("resize_mode", ["shortest", "squash", "longest"])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "RGBA"])
@pytest.mark.parametrize("size", [(64, 64), (37, 53), (5, 200), (90, 31)])
def test_pixels_are_those_of_open_clip(resize_mode, mode, size):
    settings = Preprocess(size=32, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), resize_mode=resize_mode)
    theirs = open_clip.image_transform(32, False, settings.mean, settings.std, resize_mode=resize_mode)
    image = odd_image(mode, size)
    if resize_mode == "longest" and min(size) < 6:
        pytest.skip("open_clip rounds such a strip to no pixels at all")
    found, expected = Preprocessor(settings)([image])[0], theirs(image).numpy()
    assert np.abs(found - expected).max() <= 1 / 255 / min(settings.std)


def scan(bits):
    """A grey image of 16 or 32 bits, most of it within what 8 can hold."""
    values = draw.integers(0, 300, (40, 51))
    return Image.fromarray(values.astype(np.uint16 if bits == 16 else np.int32))


def turned():
    """A photo whose EXIF says that it lies on its side: open_clip takes no notice."""
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    odd_image("RGB", (60, 41)).save(file, "JPEG", exif=exif)
    return Image.open(file)


ODD = {
    "16 bits": lambda: scan(16),
    "32 bits": lambda: scan(32),
    "float": lambda: Image.fromarray(draw.uniform(0, 255, (40, 50)).astype(np.float32)),
    "EXIF rotation": turned,
    "grey with alpha": lambda: odd_image("RGBA", (37, 53)).convert("LA"),
    "palette": lambda: odd_image("RGB", (37, 53)).convert("P"),
    "one bit": lambda: odd_image("L", (37, 53)).convert("1"),
    "one pixel": lambda: odd_image("RGB", (1, 1)),
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_images_are_those_of_open_clip_too(kind):
    image = ODD[kind]()
    settings = Preprocess(size=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    theirs = open_clip.image_transform(32, False, settings.mean, settings.std)
    found, expected = Preprocessor(settings)([image])[0], theirs(image).numpy()
    assert np.abs(found - expected).max() <= 1 / 255 / 0.5


def bomb(path):
    """A PNG of a hundred thousand pixels a side, in a few bytes: its header says so."""
    Image.new("1", (1, 1)).save(path)
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", 100_000, 100_000)
    content[29:33] = struct.pack(">I", zlib.crc32(bytes(content[12:29])))
    path.write_bytes(content)


BAD = {
    "not decoded": bomb,
    "no such image": lambda path: None,
    "not an image": lambda path: path.touch(),
    "that can be read": lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n nonsense"),
}


@pytest.mark.parametrize("complaint", BAD)
def test_what_cannot_be_decoded_is_one_line(complaint, tmp_path):
    BAD[complaint](tmp_path / "x.png")
    with pytest.raises(EdgeclipError, match=complaint) as told:
        read_image(tmp_path / "x.png")
    assert "\n" not in str(told.value)
