"""A teacher is judged on the pictures that its student sees."""

import numpy as np
import pytest
from PIL import Image

from edgeclip.base.decode import read_image
from edgeclip.base.errors import EdgeclipError
from edgeclip.chain.seeing import seeing
from edgeclip.encoder import PixelEncoder

LYING = Image.Exif()
LYING[0x0112] = 6


class Plain:
    """An encoder that tells the mean colours of a picture's upper half."""

    embed_dim, name = 3, "plain"

    def encode_image(self, images):
        return np.float32(
            [np.asarray(i.convert("RGB").crop((0, 0, i.width, i.height // 2))).mean((0, 1)) for i in images]
        )

    def encode_text(self, texts):
        return np.zeros((len(texts), 3), np.float32)


@pytest.fixture
def picture(tmp_path):
    """The left half is clear, and hides black; the right one is red. A camera wrote that it lies on its side."""
    made = Image.new("RGBA", (40, 40), (255, 0, 0, 255))
    made.paste((0, 0, 0, 0), (0, 0, 20, 40))
    made.save(tmp_path / "a.png", exif=LYING)
    return tmp_path / "a.png"


def test_it_sees_what_is_asked_for(picture):
    plain = Plain()
    assert seeing(plain) is plain
    assert seeing(plain, ground="0000ff").encode_image(picture)[0].tolist() == [127.5, 0, 127.5]
    assert seeing(plain, exif="apply").encode_image([picture])[0].tolist() == [0, 0, 0], "what was left is above"
    both = seeing(plain, exif="apply", ground="0000ff")
    assert both.encode_image(read_image(picture))[0].tolist() == [0, 0, 255]
    assert (both.embed_dim, both.name, both.encode_text(["a"]).shape) == (3, "plain", (1, 3))
    assert not isinstance(both, PixelEncoder)


def test_a_ground_that_is_no_colour_is_refused():
    with pytest.raises(EdgeclipError, match="'red' is no colour: six hexadecimal digits"):
        seeing(Plain(), ground="red")


def test_a_tower_gets_these_pixels_too(teacher, picture):
    white = seeing(teacher, ground="ffffff")
    assert isinstance(white, PixelEncoder)
    flat = read_image(picture).convert("RGBA")
    flat = Image.alpha_composite(Image.new("RGBA", flat.size, "white"), flat).convert("RGB")
    assert np.array_equal(white.preprocess([read_image(picture)]), teacher.preprocess([flat]))
    assert np.allclose(white.encode_image(picture), teacher.encode_image(flat), atol=1e-6)
