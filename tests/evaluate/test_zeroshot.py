import numpy as np
import pytest
from PIL import Image

from edgeclip.errors import EdgeclipError, FormatError
from edgeclip.evaluate import evaluate
from edgeclip.evaluate.datasets import open_dataset
from edgeclip.evaluate.zeroshot import class_embeddings, top_k

COLOURS = {"a": "red", "b": "lime", "c": "blue"}


class ColourEncoder:
    """Knows three colours by heart: what zero-shot makes of it can be told by hand."""

    embed_dim = 3

    def encode_image(self, images):
        found = np.float32([np.asarray(image.convert("RGB"))[0, 0] for image in images])
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    def encode_text(self, texts):
        return np.float32([[name in text for name in COLOURS.values()] for text in texts])


@pytest.fixture
def folder(tmp_path):
    for key, colour in COLOURS.items():
        (tmp_path / key).mkdir()
        Image.new("RGB", (4, 4), colour).save(tmp_path / key / "1.png")
    Image.new("RGB", (4, 4), "red").save(tmp_path / "c" / "2.png")  # a mistake in the data: 3 of 4 are right
    (tmp_path / "classnames.txt").write_text("".join(f"{key}\t{name}\n" for key, name in COLOURS.items()))
    return tmp_path


def test_top1_of_a_small_example(folder):
    data = open_dataset(folder)
    result = evaluate(ColourEncoder(), data, batch=3)
    assert (data.classnames, len(data)) == (["red", "lime", "blue"], 4)
    assert (result.top1, result.top5) == (0.75, 1.0)
    assert result.predictions.tolist() == [0, 1, 2, 0]


def test_templates_are_averaged_and_normalised():
    found = class_embeddings(ColourEncoder(), ["red"], ["{}", "{} or lime"])
    assert np.allclose(found, [[2 / 5**0.5, 1 / 5**0.5, 0]])


def test_top_k_breaks_ties_by_order():
    assert top_k(np.float32([[1, 3, 3, 2]]), 3).tolist() == [[1, 2, 3]]


def test_unreadable_images(folder):
    (folder / "a/broken.png").write_bytes(b"nothing")
    with pytest.raises(EdgeclipError, match=r"cannot be read \(broken\.png"):
        evaluate(ColourEncoder(), open_dataset(folder))
    for number in range(40):
        Image.new("RGB", (4, 4), "red").save(folder / f"a/{number + 3}.png")
    assert len(evaluate(ColourEncoder(), open_dataset(folder)).labels) == 44


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [
        ("classnames.txt", "a red\n", "expected a folder, a tab"),
        ("classnames.txt", "a\tred\n", "have no class name there"),
        ("templates.txt", "a photo\n", "a template holds {} once"),
        ("templates.txt", "\n", "no templates"),
    ],
)
def test_files_that_are_not_as_they_should_be(folder, file, content, complaint):
    (folder / file).write_text(content)
    with pytest.raises(FormatError, match=complaint):
        open_dataset(folder)


def test_folders_that_are_no_dataset(tmp_path):
    with pytest.raises(EdgeclipError, match="no such dataset"):
        open_dataset(tmp_path / "absent")
    with pytest.raises(EdgeclipError, match="one folder a class"):
        open_dataset(tmp_path)
