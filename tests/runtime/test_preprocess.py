import io
import struct
import zlib

import numpy as np
import open_clip
import pytest
from PIL import Image

from edgeclip.errors import EdgeclipError
from edgeclip.runtime.manifest import Preprocess
from edgeclip.runtime.preprocess import Preprocessor, read_image, scaled_grey

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


def turned():
    """A photo whose EXIF says that it lies on its side: open_clip takes no notice."""
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    odd_image("RGB", (60, 41)).save(file, "JPEG", exif=exif)
    return Image.open(file)


ODD = {
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


GREY = draw.integers(0, 256, (40, 51)).astype(np.uint8)
DEEP = {
    "16 bits": GREY.astype(np.uint16) * 257,
    "32 bits that hold 16": GREY.astype(np.int32) * 257,
    "32 bits that hold 8": GREY.astype(np.int32),
    "float to 1": GREY.astype(np.float32) / 255,
    "float to 255": GREY.astype(np.float32),
}


@pytest.mark.parametrize("kind", DEEP)
def test_deep_images_are_scaled_by_their_depth(kind):
    """A documented difference: open_clip cuts them at 255, or takes 0..1 for black."""
    settings = Preprocess(size=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    deep = Image.fromarray(DEEP[kind])
    assert deep.mode != "L"
    theirs = open_clip.image_transform(32, False, settings.mean, settings.std)
    expected = theirs(Image.fromarray(GREY.astype(np.float32))).numpy()
    assert np.abs(Preprocessor(settings)([deep])[0] - expected).max() <= 1 / 255 / 0.5 + 1e-6


def test_a_dark_image_of_16_bits_stays_dark(tmp_path):
    Image.fromarray(np.full((40, 40), 200, np.uint16)).save(tmp_path / "dark.png")
    settings = Preprocess(size=32, mean=(0.0,) * 3, std=(1.0,) * 3)
    assert Preprocessor(settings)([read_image(tmp_path / "dark.png")]).max() <= 1 / 255


@pytest.mark.parametrize("values", [[[-1.0, 0.5]], [[0.0, 300.0]], [[np.nan, 1.0]], [[np.inf, 0.0]]])
def test_what_is_white_must_be_known(values):
    with pytest.raises(ValueError, match="a grey image of values from"):
        scaled_grey(Image.fromarray(np.float32(values)))
    with pytest.raises(ValueError, match="8 or 16 bits"):
        scaled_grey(Image.fromarray(np.int32([[0, 70_000]])))


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
