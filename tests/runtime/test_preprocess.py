import numpy as np
import open_clip
import pytest
from PIL import Image

from edgeclip.runtime.manifest import Preprocess
from edgeclip.runtime.preprocess import Preprocessor

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


def test_sixteen_bit_images_are_read():
    image = Image.fromarray(draw.integers(0, 65536, (40, 50), dtype=np.uint16))
    settings = Preprocess(size=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    assert Preprocessor(settings)([image]).shape == (1, 3, 32, 32)
