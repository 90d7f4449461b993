"""Which images are meant, and what becomes of those that cannot be read."""

import json

import numpy as np
import pytest
from PIL import Image

from edgeclip.base.errors import EdgeclipError
from edgeclip.runtime.classify import AT_ONCE, image_paths

from ..test_cli import run


@pytest.fixture
def pictures(tmp_path):
    (tmp_path / "below").mkdir()
    for name in ("red.png", "below/blue.png", "green.jpg"):
        Image.new("RGB", (40, 40), name.split("/")[-1].split(".")[0]).save(tmp_path / name)
    return tmp_path


def test_files_folders_patterns_and_lists(pictures, monkeypatch):
    monkeypatch.chdir(pictures)

    def names(*given):
        return [str(pictures.joinpath(one).relative_to(pictures)) for one in image_paths(given)]

    assert names(pictures) == ["below/blue.png", "green.jpg", "red.png"]
    assert names(pictures / "*.png") == ["red.png"]
    assert names(pictures / "**/*.png") == ["below/blue.png", "red.png"]
    (pictures / "list.txt").write_text("red.png\nbelow/blue.png\n")
    assert names(pictures / "list.txt") == ["red.png", "below/blue.png"]
    assert names(pictures / "red.png", pictures) == ["red.png", "below/blue.png", "green.jpg"], "each once"
    (pictures / "[1].png").write_bytes((pictures / "red.png").read_bytes())
    assert names(pictures / "[1].png") == ["[1].png"], "a file is no pattern"
    (pictures / "empty").mkdir()
    for nothing in (pictures / "empty", pictures / "*.webp"):
        with pytest.raises(EdgeclipError, match="no images there"):
            image_paths([nothing])


def test_a_bad_image_is_a_row_and_not_the_end(bundle, pictures):
    (pictures / "bad.png").write_bytes(b"nonsense")
    words = ["classify", bundle.path, pictures, pictures / "absent.png", "--labels", "red,blue,green", "--top", 2]
    found = json.loads(run(*words, "--json").stdout)
    assert len(found) == 5
    assert [len(row["labels"]) for row in found if "labels" in row] == [2, 2, 2]
    problems = {row["image"]: row["problem"] for row in found if "problem" in row}
    assert problems.keys() == {str(pictures / "bad.png"), str(pictures / "absent.png")}
    table = run(*words).stdout
    assert "no such image" in table
    assert "red" in table


def test_none_that_can_be_read_is_one_line(bundle, tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"nonsense")
    told = run("classify", bundle.path, tmp_path, "--labels", "red,blue", expect=2).stderr
    assert "a.png: not an image" in told
    assert "(and 1 others)" in told


def test_answers_do_not_depend_on_how_many_are_taken_at_once(bundle, pictures):
    for number in range(AT_ONCE + 3):
        Image.new("RGB", (30 + number, 40), (9 * number, 100, 50)).save(pictures / f"{number}.png")
    labels = ["--labels", "red,blue,green", "--json"]
    together = json.loads(run("classify", bundle.path, pictures, *labels).stdout)
    for row in together[:: AT_ONCE // 2]:
        (alone,) = json.loads(run("classify", bundle.path, row["image"], *labels).stdout)
        assert dict(alone["labels"]) == pytest.approx(dict(row["labels"]), abs=1e-5)


def test_any_model_that_encodes_classifies(teacher, teacher_dir, images_dir, tmp_path):
    """A teacher by name, and a folder of class folders as labels: as open_clip itself would answer."""
    for name in ("red", "green", ".hidden"):
        (tmp_path / "testset" / name).mkdir(parents=True)
    picture = images_dir / "00.png"
    told = run("classify", f"local-dir:{teacher_dir}", picture, "--labels", tmp_path / "testset", "--json").stdout
    (answer,) = json.loads(told)
    odds = teacher.logit_scale * (teacher.encode_image(picture) @ teacher.encode_text(["green", "red"]).T)[0]
    odds = np.exp(odds - odds.max()) / np.exp(odds - odds.max()).sum()
    assert dict(answer["labels"]) == pytest.approx({"green": odds[0], "red": odds[1]}, abs=1e-5)
    assert answer["labels"][0][1] >= answer["labels"][1][1]


def test_what_a_bundle_alone_can_be_told_is_refused_elsewhere(teacher_dir, images_dir):
    picture = images_dir / "00.png"
    for option in (["--precision", "int8"], ["--engine", "onnxruntime"], ["--threads", 1]):
        told = run("classify", f"local-dir:{teacher_dir}", picture, "--labels", "a,b", *option, expect=2).stderr
        assert "are of a bundle: export the model first" in told
    assert "labels are missing" in run("classify", f"local-dir:{teacher_dir}", picture, expect=2).stderr


def test_an_empty_folder_has_no_labels(bundle, images_dir, tmp_path):
    told = run("classify", bundle.path, images_dir / "00.png", "--labels", tmp_path, expect=2).stderr
    assert "no labels" in told
