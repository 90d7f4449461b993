"""Opening image files: the first picture of what can be read, one line for what cannot, and never the whole memory."""

import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image, features

from edgeclip.base.decode import UnreadableImage, grey_white, read_image
from edgeclip.base.errors import EdgeclipError

draw = np.random.default_rng(0)


@pytest.mark.parametrize("values", [[[-1.0, 0.5]], [[0.0, 300.0]], [[1.0, np.nan]], [[np.inf, 0.0]]])
def test_what_is_white_must_be_known(values):
    with pytest.raises(EdgeclipError, match="a grey image of values from"):
        grey_white(Image.fromarray(np.float32(values)))
    with pytest.raises(EdgeclipError, match="8 or 16 bits"):
        grey_white(Image.fromarray(np.int32([[0, 70_000]])))


def test_white_of_a_large_image_is_looked_for_everywhere():
    grey = np.zeros((3000, 1000), np.int32)
    grey[2999, 999] = 256
    assert grey_white(Image.fromarray(grey)) == 65535
    grey[2999, 999] = 255
    assert grey_white(Image.fromarray(grey)) == 255


def of_size(width, height):
    """A PNG of so many pixels, all of them zero, in few bytes."""
    file = io.BytesIO()
    Image.new("1", (1, 1)).save(file, "PNG")
    content = bytearray(file.getvalue())
    content[16:24] = struct.pack(">II", width, height)
    content[29:33] = struct.pack(">I", zlib.crc32(bytes(content[12:29])))
    return bytes(content)


BAD = {
    "over 89 million pixels": lambda path: path.write_bytes(of_size(100_000, 100_000)),
    "no such image": lambda path: None,
    "not an image": lambda path: path.touch(),
    "that can be read": lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n nonsense"),
    "values from -1": lambda path: Image.fromarray(np.float32([[-1, 0]])).save(path, "TIFF"),
    "no plain file": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("complaint", BAD)
def test_what_cannot_be_decoded_is_one_line(complaint, tmp_path):
    BAD[complaint](tmp_path / "x.png")
    with pytest.raises(UnreadableImage, match=complaint) as told:
        read_image(tmp_path / "x.png")
    assert "\n" not in str(told.value)
    assert str(told.value).startswith(str(tmp_path / "x.png"))


def png(mode, size):
    file = io.BytesIO()
    Image.new(mode, size).save(file, "PNG")
    return file.getvalue()


def test_a_bomb_is_told_by_the_memory_it_takes():
    """A large photo has bytes for its pixels; as many pixels out of nothing are an attack."""
    transparent = png("RGBA", (5_000, 4_800))
    with pytest.raises(UnreadableImage, match=r"x: 24 million pixels out of \d+ bytes: not decoded"):
        read_image(io.BytesIO(transparent), "x")
    with pytest.raises(UnreadableImage, match="24 million pixels out of 999999 bytes"):
        read_image(io.BytesIO(transparent.ljust(999_999, b"\0")), "x")
    assert read_image(io.BytesIO(transparent.ljust(1_000_000, b"\0")), "x").size == (5_000, 4_800)
    assert read_image(io.BytesIO(png("1", (5_000, 4_800))), "x").size == (5_000, 4_800), "a page of a fax"


LARGEST = {  # of each kind, as many pixels as are let through; the file is below 1 MB
    "RGBA.png": (4_850, 4_850),
    "LA.png": (4_850, 4_850),
    "RGB.webp": (3_440, 3_440),
    "RGB.jpg": (5_200, 5_200),
    "I.tif": (6_150, 6_150),
    "L.png": (9_400, 9_400),
}


@pytest.mark.parametrize("kind", LARGEST)
def test_no_small_file_takes_more_than_200_mb(kind, tmp_path):
    """From file to pixels, in a process of its own: its peak above what it takes for a small image."""
    mode, suffix = kind.split(".")
    settings = {"jpg": {"quality": 5, "progressive": True}, "tif": {"compression": "tiff_adobe_deflate"}}
    image = Image.new(mode, LARGEST[kind], 1 if mode == "I" else None)
    image.save(tmp_path / kind, **settings.get(suffix, {}))
    assert (tmp_path / kind).stat().st_size < 1_000_000
    told = subprocess.run(
        [sys.executable, "-c", PEAK, str(tmp_path / kind)], capture_output=True, text=True, check=True
    )
    assert 20 < float(told.stdout) < 200


PEAK = """
import sys
from pathlib import Path
from PIL import Image
from edgeclip.base.decode import read_image
from edgeclip.runtime.manifest import Preprocess
from edgeclip.runtime.memory import own_peak_mb
from edgeclip.runtime.preprocess import Preprocessor
ready = Preprocessor(Preprocess(size=224, mean=(0.5,) * 3, std=(0.5,) * 3, exif="apply"))
ready([Image.new("RGB", (300, 300))])
before = own_peak_mb()
ready([read_image(Path(sys.argv[1]))])
print(own_peak_mb() - before)
"""


def test_too_little_memory_is_that_images_fault(monkeypatch):
    def full(*_):
        raise MemoryError

    content = of_size(4, 4)
    monkeypatch.setattr(Image.Image, "load", full)
    with pytest.raises(UnreadableImage, match="not enough memory"):
        read_image(io.BytesIO(content), "x")


KINDS = ["PNG", "JPEG", "GIF", "BMP", "TIFF"] + (["WEBP"] if features.check("webp") else [])


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_anywhere_is_read_or_refused_in_one_line(kind):
    file = io.BytesIO()
    Image.fromarray(draw.integers(0, 256, (40, 30, 3)).astype(np.uint8)).save(file, kind)
    whole = file.getvalue()
    told = 0
    for cut in range(0, len(whole), max(1, len(whole) // 60)):
        try:
            assert read_image(io.BytesIO(whole[:cut]), "x").size == (30, 40)
        except UnreadableImage as error:
            assert "\n" not in str(error)
            told += 1
    assert told > 20
    assert read_image(io.BytesIO(whole), "x").size == (30, 40)


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_read_or_refused_in_one_line(kind):
    file = io.BytesIO()
    Image.fromarray(draw.integers(0, 256, (40, 30, 3)).astype(np.uint8)).save(file, kind)
    for _ in range(60):
        content = bytearray(file.getvalue())
        for place in draw.integers(0, len(content), 4):
            content[place] = draw.integers(0, 256)
        try:
            read_image(io.BytesIO(bytes(content)), "x")
        except UnreadableImage as error:
            assert "\n" not in str(error)


def test_of_an_animation_the_first_picture(tmp_path):
    red, blue = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    for kind in ("GIF", "PNG", "WEBP"):
        red.save(tmp_path / "x", kind, save_all=True, append_images=[blue])
        assert read_image(tmp_path / "x").convert("RGB").getpixel((4, 4))[0] > 250
