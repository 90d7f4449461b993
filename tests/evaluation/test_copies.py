"""A picture that lies there three times counts once; chance is what nobody needs to look for."""

import shutil

import numpy as np
import pytest
from PIL import Image

from edgeclip.evaluation import evaluate
from edgeclip.evaluation.chance import above_chance, chance_level
from edgeclip.evaluation.copies import without_copies
from edgeclip.images.datasets import open_dataset
from edgeclip.images.labelled import Dataset


@pytest.fixture
def pictures(tmp_path, images_dir):
    files = sorted(images_dir.iterdir())
    for number in range(6):
        folder = tmp_path / "set" / ("a" if number < 3 else "b")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(files[number], folder)
    return tmp_path / "set"


def test_copies_count_once_and_are_told(pictures, capsys):
    for name in ("again.png", "and-again.png"):
        shutil.copy(pictures / "a/00.png", pictures / "a" / name)
    shutil.copy(pictures / "a/00.png", pictures / "b/under-another-label.png")
    found = without_copies(open_dataset(pictures))
    assert (len(found), found.copies) == (7, 2)
    assert "2 of 9 files are copies of others of their class: each counts once" in capsys.readouterr().err
    assert [label for _, label in found] == [0, 0, 0, 1, 1, 1, 1], "under another label it may be the right one"
    assert len(list(found.source)) == 7


def test_what_has_no_copies_is_left_as_it_is(pictures, teacher):
    data = open_dataset(pictures)
    assert without_copies(data) is data
    assert evaluate(teacher, data).top1 == evaluate(teacher, without_copies(data)).top1


def test_pictures_that_are_no_files_are_known_by_their_pixels(pictures):
    class Decoded:
        label, key = 0, "k"

        def __init__(self, color):
            self.color = color

        def decode(self):
            return Image.new("RGB", (4, 4), self.color)

    data = Dataset("d", ["a"], ["{}"], [Decoded("red"), Decoded("red"), Decoded("blue")])
    assert without_copies(data).copies == 1


@pytest.mark.parametrize(
    ("labels", "classes", "chance"),
    [
        ([0, 1, 2, 3], 4, 0.25),
        ([0, 0, 0, 1], 2, 0.75),
        ([0], 8, 1.0),
        ([0, 0, 0], 1, 1.0),
        ([], 4, 0.25),
        ([[True, False], [True, True]], 2, 1.0),
    ],
)
def test_chance_is_the_commonest_class_or_a_guess(labels, classes, chance):
    assert chance_level(np.asarray(labels), classes) == chance


def test_above_chance_is_all_of_the_interval():
    assert not above_chance(1.0, 3, 0.5), "three of three happens one time in eight"
    assert above_chance(1.0, 30, 0.5)
    assert not above_chance(0.55, 100, 0.5)
    assert above_chance(0.55, 1000, 0.5)
