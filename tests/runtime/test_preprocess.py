import io

import numpy as np
import open_clip
import pytest
from PIL import Image, ImageDraw, ImageOps

from edgeclip.base.decode import read_image
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
    # Of 16 bits Pillow clips between its two passes, as of 8; of floats and of 32 bits it does not.
    expected = theirs(Image.fromarray(GREY if deep.mode == "I;16" else GREY.astype(np.float32))).numpy()
    assert np.abs(Preprocessor(settings)([deep])[0] - expected).max() <= 1 / 255 / 0.5 + 1e-6


def test_a_dark_image_of_16_bits_stays_dark(tmp_path):
    Image.fromarray(np.full((40, 40), 200, np.uint16)).save(tmp_path / "dark.png")
    settings = Preprocess(size=32, mean=(0.0,) * 3, std=(1.0,) * 3)
    assert Preprocessor(settings)([read_image(tmp_path / "dark.png")]).max() <= 1 / 255


MODES = ("RGB", "L", "P", "RGBA", "CMYK", "LA", "1", "HSV", "YCbCr")
SIZES = ((1, 1), (1, 7), (7, 1), (2, 300), (1, 3000), (3000, 1), (60, 41), (41, 60), (64, 64), (5, 200), (300, 280))


def odd_images():
    """Five hundred and more: every mode in every size, smooth and noisy, enlarged and shrunk."""
    for number in range(520):
        mode, (width, height) = MODES[number % len(MODES)], SIZES[number % len(SIZES)]
        grain = 1 if number % 3 else 7
        small = max(1, width // grain), max(1, height // grain)
        yield number, odd_image("RGBA", small).convert("RGB").resize((width, height)).convert(mode)


def difference(image, size, mode, interpolation):
    """In steps of 255: ours from open_clip's, pixel by pixel."""
    plain = Preprocess(size=size, mean=(0.0,) * 3, std=(1.0,) * 3, resize_mode=mode, interpolation=interpolation)
    theirs = open_clip.image_transform(
        size, False, plain.mean, plain.std, resize_mode=mode, interpolation=interpolation
    )
    return np.abs(Preprocessor(plain)([image])[0] - theirs(image).numpy()) * 255


def test_five_hundred_odd_images():
    """Equal to the bit, but for long strips, which are cropped before they are enlarged: those to one step of 255."""
    worst = {"same": 0.0, "strips": 0.0}
    for number, image in odd_images():
        size, mode = (16, 32)[number % 2], ("shortest", "squash")[number % 5 == 0]
        found = difference(image, size, mode, ("bicubic", "bilinear")[number % 7 == 0])
        short, long = min(image.size), max(image.size)
        strip = mode == "shortest" and short < size and long > 64 * short
        if image.mode in ("P", "1") and strip:  # no colour between two pixels: it is one of them, or the other
            assert (found > 0.01).mean() < 0.15
        elif image.mode in ("HSV", "YCbCr") and strip:  # one step there may be several of red, green and blue
            assert found.max() <= 8
        else:
            worst["strips" if strip else "same"] = max(worst["strips" if strip else "same"], found.max())
    assert worst["same"] < 0.001
    assert worst["strips"] <= 1.001


def test_a_strip_takes_no_gigabytes():
    """1 x 60,000 pixels, enlarged as a whole, would be 3 million rows of 224."""
    grey = np.linspace(0, 255, 60_000).astype(np.uint8)
    plain = Preprocess(size=224, mean=(0.0,) * 3, std=(1.0,) * 3)
    for strip in (grey[:, None], grey[None]):
        square = Preprocessor(plain)([Image.fromarray(strip)])[0] * 255
        assert np.abs(square - 127.5).max() <= 1, "the middle"


@pytest.mark.parametrize("value", range(1, 9))
def test_exif_orientation_is_applied_where_it_is_asked_for(value, tmp_path):
    upright = odd_image("RGB", (8, 6)).resize((80, 60))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transposition that lays a picture so
    lying = upright if value == 1 else upright.transpose(Image.Transpose(undo[value]))
    exif = Image.Exif()
    exif[0x0112] = value
    lying.save(tmp_path / "x.png", exif=exif)
    settings = Preprocess(size=32, mean=(0.0,) * 3, std=(1.0,) * 3)
    seen = read_image(tmp_path / "x.png")
    turned = Preprocessor(settings.model_copy(update={"exif": "apply"}))([seen])
    assert np.abs(turned - Preprocessor(settings)([upright])).max() <= 3 / 255
    assert np.abs(turned - Preprocessor(settings)([ImageOps.exif_transpose(seen)])).max() <= 3 / 255
    ignored = Preprocessor(settings)([seen])
    assert np.array_equal(ignored, Preprocessor(settings)([lying]))
    assert value == 1 or np.abs(turned - ignored).max() > 0.1


def test_damaged_metadata_says_nothing_of_up_and_down():
    image = odd_image("RGB", (40, 30))
    image.info["exif"] = b"Exif\0\0MM nonsense"
    apply = Preprocess(size=32, mean=(0.0,) * 3, std=(1.0,) * 3, exif="apply")
    assert np.array_equal(
        Preprocessor(apply)([image]), Preprocessor(apply.model_copy(update={"exif": "ignore"}))([image])
    )


def cut_out(mode):
    """A red disk on nothing, and what the nothing hides is black."""
    shape = Image.new("L", (90, 60))
    ImageDraw.Draw(shape).ellipse((20, 5, 70, 55), fill=255)
    picture = Image.merge("RGBA", (shape, *(Image.new("L", shape.size),) * 2, shape))
    if mode == "RGB":  # PNG may name one colour that is transparent
        plain = picture.convert("RGB")
        plain.info["transparency"] = (0, 0, 0)
        return plain
    return picture.quantize(8) if mode == "P" else picture.convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB"])
@pytest.mark.parametrize("resize_mode", ["shortest", "squash", "longest"])
def test_transparent_pictures_lie_on_the_ground_that_is_asked_for(mode, resize_mode):
    settings = Preprocess(size=32, mean=(0.0,) * 3, std=(1.0,) * 3, resize_mode=resize_mode, fill_color=7)
    picture = cut_out(mode)
    hidden, white = (
        Preprocessor(settings.model_copy(update={"ground": ground}))([picture])[0] for ground in (None, "ffffff")
    )
    flat = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture.convert("RGBA")).convert("RGB")
    near = np.abs(white - Preprocessor(settings)([flat])[0])
    assert np.percentile(near, 90) <= 2 / 255, "as if it had been laid on it before"
    corner = (16, 0) if resize_mode == "longest" else (0, 0)
    assert white[:, corner[0], corner[1]].min() > 0.99 and hidden[:, corner[0], corner[1]].max() < 0.01
    if resize_mode == "longest":
        assert (white[:, 0, 0] * 255).round().tolist() == [7, 7, 7], "what is padded is no part of the picture"


def test_a_ground_is_nothing_to_an_opaque_picture():
    settings = Preprocess(size=32, mean=(0.0,) * 3, std=(1.0,) * 3)
    on_red = settings.model_copy(update={"ground": "ff0000"})
    for picture in (odd_image("RGB", (50, 40)), odd_image("L", (50, 40)), Image.fromarray(DEEP["16 bits"])):
        assert np.array_equal(Preprocessor(on_red)([picture]), Preprocessor(settings)([picture]))
