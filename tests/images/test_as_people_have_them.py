"""Data sets as people have them: splits, wrappers, leavings of systems, odd names, cut archives."""

import io
import os
import tarfile
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeclip.base.errors import EdgeclipError
from edgeclip.base.pictures import image_files
from edgeclip.base.tars import index_tar, read_tar
from edgeclip.evaluation.embed import Embedded
from edgeclip.evaluation.probe import few_shot, linear_probe
from edgeclip.images.datasets import is_unsplit, open_dataset
from edgeclip.images.sources import Folder


def picture(file, color="red"):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), color).save(file, format="JPEG" if file.suffix.lower() in (".jpeg", ".jfif") else None)


def made(folder, *files):
    """A folder with files in it: pictures, and whatever else has a name."""
    for name in files:
        if Path(name).suffix.lower() in (".jpg", ".jpeg", ".png"):
            picture(folder / name)
        else:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("x")
    return folder


# The folders of ten public data sets as their archives unpack, and where the classes of a test are found.
PUBLIC = {
    "imagenette": (
        ["imagenette2/train/n01/a.JPEG", "imagenette2/val/n01/b.JPEG", "imagenette2/val/n02/c.JPEG"],
        "n01 n02",
    ),
    "intel image classification": (
        [
            "seg_train/seg_train/sea/a.jpg",
            "seg_test/seg_test/sea/b.jpg",
            "seg_test/seg_test/street/c.jpg",
            "seg_pred/seg_pred/d.jpg",
        ],
        "sea street",
    ),
    "chest x-ray": (
        [
            "chest_xray/train/NORMAL/a.jpeg",
            "chest_xray/test/NORMAL/b.jpeg",
            "chest_xray/test/PNEUMONIA/c.jpeg",
            "chest_xray/val/NORMAL/d.jpeg",
            "chest_xray/__MACOSX/train/NORMAL/._a.jpeg",
            "chest_xray/chest_xray/train/NORMAL/a.jpeg",
        ],
        "NORMAL PNEUMONIA",
    ),
    "brain tumor MRI": (["Training/glioma/a.jpg", "Testing/glioma/b.jpg", "Testing/notumor/c.jpg"], "glioma notumor"),
    "ten monkeys": (
        [
            "training/training/n0/a.jpg",
            "validation/validation/n0/b.jpg",
            "validation/validation/n1/c.jpg",
            "monkey_labels.txt",
        ],
        "n0 n1",
    ),
    "fruits-360": (
        ["Training/Apple/a.jpg", "Test/Apple/b.jpg", "Test/Pear/c.jpg", "test-multiple_fruits/d.jpg", "papers/x.pdf"],
        "Apple Pear",
    ),
    "cats and dogs": (
        ["train/cats/a.jpg", "validation/cats/b.jpg", "validation/dogs/c.jpg", "vectorize.py"],
        "cats dogs",
    ),
    "CUB": (
        ["images/001.Albatross/a.jpg", "images/002.Auk/b.jpg", "attributes/x.txt", "parts/y.txt", "classes.txt"],
        "001.Albatross 002.Auk",
    ),
    "caltech-101": (
        ["101_ObjectCategories/ant/a.jpg", "101_ObjectCategories/bass/b.jpg", "Annotations/ant/x.mat"],
        "ant bass",
    ),
    "food-101": (
        ["food-101/images/apple_pie/a.jpg", "food-101/images/ramen/b.jpg", "food-101/meta/classes.txt"],
        "apple_pie ramen",
    ),
    "EuroSAT": (["2750/Forest/a.jpg", "2750/River/b.jpg"], "Forest River"),
    "flowers": (
        ["flower_photos/daisy/a.jpg", "flower_photos/tulips/b.jpg", "flower_photos/LICENSE.txt"],
        "daisy tulips",
    ),
    "animals-10": (["raw-img/cane/a.jpeg", "raw-img/gatto/b.jpeg", "translate.py"], "cane gatto"),
    "pictures of vehicles": (["train/a.jpg", "bus/b.jpg", "car/c.jpg"], "bus car train"),
    "plain classes": (["cat/a.jpg", "dog/deep/b.jpg", "empty/readme.txt"], "cat dog"),
    "one class": (["cat/a.jpg"], "cat"),
    "splits of systems' leavings": (
        ["train/a/1.jpg", "test/a/2.jpg", "test/b/3.jpg", "__MACOSX/test/._x.jpg", "annotations/x.xml"],
        "a b",
    ),
    "a sample beside its splits": (["train/a/1.jpg", "test/a/2.jpg", "test/b/3.jpg", "sample/4.jpg"], "a b"),
}


@pytest.mark.parametrize("name", PUBLIC)
def test_the_classes_of_public_data_sets_are_found(name, tmp_path):
    files, classes = PUBLIC[name]
    assert open_dataset(made(tmp_path, *files)).classnames == classes.split()


def test_a_split_is_taken_and_another_is_named(tmp_path, capsys):
    folder = made(tmp_path / "d", "Training/a/1.jpg", "Training/b/2.jpg", "Testing/a/3.jpg", "extra/c/4.jpg")
    assert len(open_dataset(folder, "train")) == 2
    assert not is_unsplit(str(folder))
    assert "not looked into: extra" in capsys.readouterr().err
    with pytest.raises(EdgeclipError, match="no split 'val' there; it has test, train"):
        open_dataset(folder, "val")
    only = made(tmp_path / "v", "train/a/1.jpg", "val/a/2.jpg")
    assert [example.path.name for example in open_dataset(only).source] == ["2.jpg"]
    assert "no test split there: val is used" in capsys.readouterr().err


def test_where_nobody_can_tell_splits_from_classes_that_is_said(tmp_path):
    folder = made(tmp_path, "train/a/1.jpg", "train/b/2.jpg", "Meta/3.png")
    with pytest.raises(EdgeclipError, match="are train splits, or classes like Meta"):
        open_dataset(folder)


@pytest.mark.parametrize(
    ("folders", "told"), [(("n01440764", "n02102040"), "WordNet's ids"), (("0", "1"), "numbers"), (("cat", "7"), "")]
)
def test_names_that_say_nothing_are_told_with_how_to_name_them(folders, told, tmp_path, capsys):
    folder = made(tmp_path, *(f"{name}/a.jpg" for name in folders))
    open_dataset(folder)
    said = capsys.readouterr().err
    assert (told in said and f"{folders[0]}<TAB>NAME" in said) if told else said == ""
    (folder / "classnames.txt").write_text("\n".join(f"{name}\tclass {name}" for name in folders))
    assert open_dataset(folder).classnames == [f"class {name}" for name in sorted(folders)]
    assert capsys.readouterr().err == ""


def test_names_of_macos_are_those_of_everybody(tmp_path):
    apart = unicodedata.normalize("NFD", "café")
    folder = made(tmp_path / "d", f"{apart}/a.jpg", "tea/b.jpg")
    assert open_dataset(folder).classnames == ["café", "tea"]
    (folder / "classnames.txt").write_text("café\ta coffee\ntea\ta tea\n")
    assert open_dataset(folder).classnames == ["a coffee", "a tea"]
    captioned = made(tmp_path / "c", f"{apart}.jpg")
    (captioned / "captions.tsv").write_text("café.jpg\ta cup\n")
    (example,) = open_dataset(captioned).source
    assert example.path.is_file()


def test_pictures_of_other_kinds_are_counted_and_those_that_can_be_are_read(tmp_path, capsys):
    made(tmp_path, "a.jpg", "b.heic", "c.svg", "d.SVG", "notes.txt")
    picture(tmp_path / "e.jfif")
    Image.new("RGB", (8, 8)).save(tmp_path / "f.avif")
    Image.new("RGB", (8, 8)).save(tmp_path / "g.jp2")
    found = {Path(file).name for file in Folder(tmp_path).files()}
    assert {"a.jpg", "e.jfif", "f.avif", "g.jp2"} <= found and "c.svg" not in found
    said = capsys.readouterr().err
    assert "2 .svg" in said and "txt" not in said


def test_a_picture_in_heic(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    heif.from_pillow(Image.new("RGB", (64, 64), "red")).save(tmp_path / "a.heic")
    (file,) = Folder(tmp_path).files()
    from edgeclip.base.decode import read_image

    assert read_image(file).getpixel((3, 3))[0] > 200


def test_links_that_lead_in_circles_end_and_a_file_counts_once(tmp_path):
    """Every folder links to every other: each way through them is another path."""
    folders = [tmp_path / "d" / f"{number:02d}" for number in range(11)]
    for folder in folders:
        picture(folder / f"{folder.name}.png")
    for folder in folders:
        for other in folders:
            (folder / f"to{other.name}").symlink_to(other)
    names = list(image_files(tmp_path / "d"))
    assert sorted(names) == [f"{number:02d}/{number:02d}.png" for number in range(11)]


def test_a_folder_that_is_only_linked_is_gone_into(tmp_path):
    picture(tmp_path / "elsewhere/a.png")
    (tmp_path / "d").mkdir()
    (tmp_path / "d/link").symlink_to(tmp_path / "elsewhere")
    assert list(image_files(tmp_path / "d")) == ["link/a.png"]


def test_folders_may_lie_as_deep_as_paths_are_long(tmp_path):
    deep = tmp_path.joinpath(*["d"] * 900)
    deep.mkdir(parents=True)
    picture(deep / "a.png")
    assert [len(Path(name).parts) for name in image_files(tmp_path)] == [901]


def tar_of(file, count=40, **more):
    with tarfile.open(file, "w", **more) as archive:
        for number in range(count):
            content = io.BytesIO()
            Image.new("RGB", (16, 16), (number, 0, 0)).save(content, "PNG")
            member = tarfile.TarInfo(f"{number:03d}.png")
            member.size = content.tell()
            content.seek(0)
            archive.addfile(member, content)
    return file


@pytest.mark.parametrize("part", np.linspace(0.01, 0.99, 25).round(2))
def test_a_cut_archive_is_never_a_shorter_one(part, tmp_path):
    whole = tar_of(tmp_path / "a.tar").read_bytes()
    ends = whole.rstrip(b"\0")
    for size in {int(part * len(ends)), int(part * len(ends)) // 512 * 512}:
        (tmp_path / "cut.tar").write_bytes(whole[:size])
        for read in (lambda file: list(read_tar(file)), lambda file: list(index_tar(file))):
            with pytest.raises(EdgeclipError, match="truncated"):
                read(tmp_path / "cut.tar")
    assert len(list(index_tar(tmp_path / "a.tar"))) == 40


@pytest.mark.parametrize(("suffix", "kind"), [("gz", "gzip"), ("bz2", "bzip2"), ("xz", "xz")])
def test_a_compressed_archive_is_told_as_that(suffix, kind, tmp_path):
    with tarfile.open(tmp_path / "a.tar", f"w:{suffix}") as archive:
        archive.addfile(tarfile.TarInfo("a.png"))
    with pytest.raises(EdgeclipError, match=f"inside {kind}: uncompress it"):
        list(read_tar(tmp_path / "a.tar"))


def test_hard_linked_members_count(tmp_path):
    picture(tmp_path / "a.png")
    os.link(tmp_path / "a.png", tmp_path / "b.png")
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.add(tmp_path / "a.png", "a.png")
        archive.add(tmp_path / "b.png", "b.png")
        assert archive.getmembers()[1].islnk()
    (first, content), (second, linked) = read_tar(tmp_path / "x.tar")
    assert (first, second) == ("a.png", "b.png") and content == linked != b""
    assert [size for _, _, size in index_tar(tmp_path / "x.tar")] == [len(content)] * 2


def clusters(counts, seed=0, noise=0.05):
    """Embeddings of classes that a line can tell apart, so many of each: float32 [N, 8]."""
    draw = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    embeds = np.eye(8)[labels] + draw.normal(0, noise, (len(labels), 8)) + 3 * np.eye(8)[7]
    embeds /= np.linalg.norm(embeds, axis=1, keepdims=True)
    return Embedded(embeds.astype(np.float32), labels, [])


UNEQUAL = {"a large class": [900, 6, 6, 6, 6, 6], "one of each but one": [200, 2, 2], "small ones": [40, 5, 4, 3, 2]}


@pytest.mark.parametrize("name", UNEQUAL)
def test_small_classes_have_a_say_in_a_probe(name):
    """Beside scikit-learn's regression at the strength that suits them best."""
    sklearn = pytest.importorskip("sklearn.linear_model")
    counts = UNEQUAL[name]
    train, test = clusters(counts), clusters([50] * len(counts), seed=1)
    probe = linear_probe(train, test, len(counts))
    best = max(
        sklearn.LogisticRegression(C=strength, max_iter=5000)
        .fit(train.image_embeds, train.labels)
        .score(test.image_embeds, test.labels)
        for strength in 10.0 ** np.arange(-2, 6)
    )
    assert probe.top1 >= best - 0.02
    assert few_shot(train, test, len(counts), 5).top1 >= 0.9


def test_a_class_with_one_image_leaves_a_number():
    train, test = clusters([30, 1, 10]), clusters([20] * 3, seed=1)
    probe = linear_probe(train, test, 3)
    assert 0.9 < probe.top1 <= 1 and all(np.isfinite(value) for value in probe.tried.values())
    assert Counter(probe.predictions.tolist()).keys() == {0, 1, 2}
