"""Pictures for the report: of every kind, of as many classes as there are, small."""

import base64
import io

import pytest
from PIL import Image

from edgeclip.images.datasets import open_dataset
from edgeclip.measurement.pictures import MOST, SIDE, some_pictures

from ..reporting.test_report import row


@pytest.fixture
def dataset(tmp_path):
    """Three classes of twenty pictures, each of a color of its own."""
    for number, name in enumerate(("a", "b", "c")):
        (tmp_path / "set" / name).mkdir(parents=True)
        for image in range(20):
            color = (80 * number, 12 * image, 0)
            Image.new("RGB", (300, 200), color).save(tmp_path / "set" / name / f"{image:02d}.png")
    return open_dataset(tmp_path / "set")


LABELS = [label for label in range(3) for _ in range(20)]


def answered(answers):
    return row("exported int8", None, 1.0, answers=answers)


def test_each_kind_has_its_pictures_of_all_classes(dataset):
    answers = [0] * 60
    found = some_pictures(dataset, LABELS, answered(answers), answered([0] * 58 + [1, 1]))
    numbers = [one.image for one in found]
    assert numbers == sorted(set(numbers))
    wrong = [number for number in numbers if LABELS[number] != 0 and number < 58]
    assert len(wrong) == MOST["wrong"] and {LABELS[number] for number in wrong} == {1, 2}
    assert {58, 59} <= set(numbers), "what a precision changed"
    assert sum(LABELS[number] == 0 for number in numbers) == MOST["right"]


def test_a_picture_is_small_and_the_one_that_it_says(dataset):
    for one in some_pictures(dataset, LABELS, answered([0] * 60), None):
        image = Image.open(io.BytesIO(base64.b64decode(one.jpeg)))
        assert (image.format, max(image.size)) == ("JPEG", SIDE)
        red, green, _ = image.getpixel((10, 10))
        assert abs(red - 80 * LABELS[one.image]) < 8 and abs(green - 12 * (one.image % 20)) < 8
        assert len(one.jpeg) < 8000


def test_broken_images_move_no_number(dataset, tmp_path):
    (tmp_path / "set/a/05.png").write_bytes(b"no image")
    labels = LABELS[1:]
    found = some_pictures(open_dataset(tmp_path / "set"), labels, answered([0] * 59), None)
    for one in found:
        image = Image.open(io.BytesIO(base64.b64decode(one.jpeg)))
        number = one.image + (one.image >= 5)
        assert abs(image.getpixel((10, 10))[1] - 12 * (number % 20)) < 8


def test_without_labels_there_are_none(dataset):
    assert some_pictures(dataset, [], answered([0] * 60), None) == []
    assert some_pictures(dataset, LABELS, answered([0] * 7), None) == []
