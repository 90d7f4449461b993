from typing import ClassVar

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from edgeclip.base.errors import EdgeclipError, FormatError
from edgeclip.evaluation import evaluate, zeroshot
from edgeclip.evaluation.embed import Embedded
from edgeclip.evaluation.metrics import mean_average_precision_11, softmax
from edgeclip.evaluation.tasks import EvaluationTask, score
from edgeclip.evaluation.zeroshot import class_embeddings, classify, top_k
from edgeclip.images.datasets import open_dataset

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
    assert (result.top1, result.top5) == (0.75, None), "of three classes, five guesses would always be right"
    assert result.predictions.tolist() == [0, 1, 2, 0]


def test_classes_of_one_name_are_one_class(folder, capsys):
    (folder / "classnames.txt").write_text("a\tred\nb\tlime\nc\tred\n")
    data = open_dataset(folder)
    assert (data.classnames, len(data), [label for _, label in data]) == (["red", "lime"], 4, [0, 1, 0, 0])
    assert "duplicate class names count as one class: red" in capsys.readouterr().err
    kept = open_dataset(folder, keep_duplicates=True)
    assert (kept.classnames, [label for _, label in kept]) == (["red", "lime", "red"], [0, 1, 2, 2])
    assert not capsys.readouterr().err


def test_a_class_without_an_image_is_said(folder, capsys):
    (folder / "aa/deeper").mkdir(parents=True)
    (folder / "aa/._1.png").write_bytes(b"what a Mac leaves")
    (folder / "classnames.txt").unlink()
    assert open_dataset(folder).classnames == ["a", "b", "c"]
    assert "1 class folder(s) without an image count as no class: aa" in capsys.readouterr().err


def test_templates_are_averaged_and_normalised():
    found = class_embeddings(ColourEncoder(), ["red"], ["{}", "{} or lime"])
    assert np.allclose(found, [[2 / 5**0.5, 1 / 5**0.5, 0]])


def test_top_k_breaks_ties_by_order():
    assert top_k(np.float32([[1, 3, 3, 2]]), 3).tolist() == [[1, 2, 3]]


def test_top_k_holds_no_more_than_it_gives():
    assert top_k(np.zeros((3, 1000), np.float32), 5).base is None, "else fifty thousand rows of all columns stay"


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


def test_a_class_list_longer_than_the_folders_is_said(folder, capsys):
    named = "".join(f"{path.name}\t{path.name}\n" for path in folder.iterdir() if path.is_dir())
    (folder / "classnames.txt").write_text(named + "gone\tgreen\n")
    assert "green" not in open_dataset(folder).classnames
    assert "1 name(s) of folders that are not there count as no class: gone" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("metric", "complaint"),
    [
        ("map", "map is of images that may be of several classes"),
        ("map-11", "map-11 is of images that may be of several classes"),
        ("roc-auc", "roc-auc is of two classes, and .* has 3"),
    ],
)
def test_a_metric_of_other_labels_is_refused_before_any_image_is_looked_at(metric, complaint, folder):
    with pytest.raises(EdgeclipError, match=complaint):
        score(None, "m", open_dataset(folder), str(folder), EvaluationTask("zero-shot", metric))


@pytest.mark.parametrize("task", ["zero-shot", "linear-probe", "few-shot"])
def test_one_class_alone_is_refused(task, tmp_path):
    (tmp_path / "a").mkdir()
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a/1.png")
    with pytest.raises(EdgeclipError, match="has one class, a: nothing can be taken for another"):
        score(None, "m", open_dataset(tmp_path), str(tmp_path), EvaluationTask(task))


def test_folders_that_are_no_dataset(tmp_path):
    with pytest.raises(EdgeclipError, match="no such dataset"):
        open_dataset(tmp_path / "absent")
    with pytest.raises(EdgeclipError, match="one folder per class"):
        open_dataset(tmp_path)


def rows(*values):
    found = np.float32(values)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def classified(images, labels, classes=None):
    classes = np.eye(3, dtype=np.float32) if classes is None else classes
    return classify(Embedded(rows(*images), np.asarray(labels), []), classes)


def test_what_is_right_class_by_class():
    found = classified([(1, 0, 0), (1, 0.1, 0), (0, 1, 0), (0, 0.2, 1)], [0, 1, 1, 2])
    assert found.right.tolist() == [True, False, True, True]
    assert found.top1 == 0.75
    assert found.recall_per_class.tolist() == [1.0, 0.5, 1.0]
    assert found.mean_per_class == pytest.approx(2.5 / 3)
    assert found.predictions.tolist() == [0, 0, 1, 2]
    value, sure = found.score("accuracy", sure=True)
    assert value == 0.75 and sure[0] <= 0.75 <= sure[1]
    assert found.score("accuracy") == (0.75, None)
    value, sure = found.score("mean-per-class", sure=True)
    assert value == found.mean_per_class and sure[0] <= value <= sure[1]
    assert found.score("mean-per-class")[1] is None


def test_top5_is_among_the_five_likeliest():
    classes = np.eye(7, dtype=np.float32)
    image = [7, 6, 5, 4, 3, 2, 1]
    hits = [classified([image], [label], classes) for label in range(7)]
    assert [hit.top5 for hit in hits] == [1, 1, 1, 1, 1, 0, 0]
    assert [hit.top1 for hit in hits] == [1, 0, 0, 0, 0, 0, 0]


def test_an_image_of_several_classes_is_right_with_any_of_them():
    labels = np.array([[True, True, False], [False, True, False]])
    found = classified([(1, 0.5, 0), (1, 0, 0)], labels)
    assert found.right.tolist() == [True, False]
    value, sure = found.score("map-11", sure=True)
    odds = softmax(100 * found.image_embeds @ found.class_embeds.T)
    assert value == pytest.approx(mean_average_precision_11(odds, labels))
    assert sure[0] <= value <= sure[1]
    assert found.score("map-11") == (value, None)


def test_of_two_classes_the_second_one_is_looked_for():
    images = [(1, 0.2, 0), (0.9, 0.4, 0), (0.2, 1, 0), (0.6, 0.5, 0)]
    found = classified(images, [0, 0, 1, 1], np.eye(3, dtype=np.float32)[:2])
    odds = softmax(100 * found.image_embeds @ found.class_embeds.T)
    value, sure = found.score("roc-auc", sure=True)
    assert value == roc_auc_score([0, 0, 1, 1], odds[:, 1]) == 1.0
    assert sure[0] <= value <= sure[1]
    assert found.score("roc-auc") == (value, None)
    other = classified(images, [1, 0, 1, 0], np.eye(3, dtype=np.float32)[:2])
    assert other.score("roc-auc")[0] == pytest.approx(roc_auc_score([1, 0, 1, 0], odds[:, 1]))
    assert other.score("roc-auc")[0] < 1


def test_many_images_are_scored_a_block_at_a_time(monkeypatch):
    draw = np.random.default_rng(0)
    images, labels = draw.normal(size=(10, 3)), draw.integers(0, 3, 10)
    whole = classified(images, labels)
    monkeypatch.setattr(zeroshot, "BLOCK", 3)
    assert np.array_equal(classified(images, labels).predictions, whole.predictions)
    assert classified(images, labels).top1 == whole.top1


def test_texts_are_read_in_batches():
    class Counting(ColourEncoder):
        seen: ClassVar[list] = []

        def encode_text(self, texts):
            self.seen.append(len(texts))
            return super().encode_text(texts)

    encoder = Counting()
    found = class_embeddings(encoder, ["red", "lime", "blue"], ["{}", "a {}"], batch=4)
    assert encoder.seen == [4, 2]
    assert np.allclose(found, np.eye(3))
    assert found.dtype == np.float32
    assert class_embeddings(encoder, ["red"] * 200, ["{}", "a {}"]).shape == (200, 3)
    assert encoder.seen[2:] == [256, 144]


def test_every_template_holds_the_name_wherever_it_wants():
    class Telling(ColourEncoder):
        texts: ClassVar[list] = []

        def encode_text(self, texts):
            self.texts.extend(texts)
            return np.ones((len(texts), 3), np.float32)

    class_embeddings(Telling(), ["a", "b"], ["{}!", "see {} {}"])
    assert Telling.texts == ["a!", "see a a", "b!", "see b b"]


def test_an_image_whose_white_nobody_knows_is_unreadable(folder, bundle, capsys):
    for number in range(40):
        Image.new("RGB", (4, 4), "red").save(folder / f"a/{number + 3}.png")
    Image.fromarray(np.float32([[-1.0, 7.0]])).save(folder / "a/odd.tif")
    found = evaluate(bundle.encoder("fp32"), open_dataset(folder))
    assert len(found.labels) == 44
    assert "1 unreadable image(s) skipped: odd.tif" in capsys.readouterr().err
