"""One data set in three layouts: folders, CLIP_benchmark's tar shards (on disk, a web server, a hub), torchvision."""

import functools
import http.server
import io
import tarfile
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edgeclip.base.errors import EdgeclipError, FormatError
from edgeclip.base.tars import read_tar
from edgeclip.images.datasets import open_dataset

COLOURS = ("red", "lime", "blue")
LONG = "folder/" * 20 + "ü.txt"  # of more characters than a tar's header has room for


def png(colour):
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), colour).save(buffer, "PNG")
    return buffer.getvalue()


def write_tar(path, files, kind=tarfile.GNU_FORMAT):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=kind) as archive:
        for name, content in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


@pytest.fixture
def shards(tmp_path):
    """Two shards of three colours, twice each."""
    folder = tmp_path / "wds_colours"
    for number in range(2):
        files = []
        for label, colour in enumerate(COLOURS):
            files += [(f"s{number}{label}.png", png(colour)), (f"s{number}{label}.cls", str(label).encode())]
        write_tar(folder / f"test/{number}.tar", files)
    (folder / "test/nshards.txt").write_text("2")
    (folder / "classnames.txt").write_text("\n".join(COLOURS))
    (folder / "zeroshot_classification_templates.txt").write_text("a {c} thing\n{c}\n")
    return folder


def colours(dataset):
    return [(image.convert("RGB").getpixel((0, 0)), label) for image, label in dataset]


def test_shards(shards):
    data = open_dataset(shards)
    assert (data.name, data.classnames, data.templates) == ("wds_colours", [*COLOURS], ["a {} thing", "{}"])
    assert len(data) == 6
    assert colours(data) == 2 * [((255, 0, 0), 0), ((0, 255, 0), 1), ((0, 0, 255), 2)]


def test_torchvision_and_folders(tmp_path, monkeypatch):
    for name, colour in zip("abc", COLOURS, strict=True):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(png(colour))
    (tmp_path / "classnames.txt").write_text("a\tred\nb\tlime\nc\tblue\n")
    (tmp_path / "templates.txt").write_text("some {}")
    folder, named = open_dataset(tmp_path), open_dataset(f"torchvision:ImageFolder:{tmp_path}")
    assert named.classnames == folder.classnames == [*COLOURS]
    assert named.templates == folder.templates == ["some {}"]
    assert colours(named) == colours(folder)
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    assert colours(open_dataset(f"torchvision:ImageFolder:~/{tmp_path.name}")) == colours(folder)


def test_torchvision_says_what_it_lacks(tmp_path):
    with pytest.raises(EdgeclipError, match="did you mean CIFAR10"):
        open_dataset("torchvision:CIFAR")
    with pytest.raises(EdgeclipError, match="download=True"):
        open_dataset(f"torchvision:MNIST:{tmp_path}")


def test_splits_of_folders(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split / "a").mkdir(parents=True)
        (tmp_path / split / "a/1.png").write_bytes(png("red"))
    (tmp_path / "train/a/2.png").write_bytes(png("red"))
    assert (len(open_dataset(tmp_path)), len(open_dataset(tmp_path, "train"))) == (1, 2)
    with pytest.raises(EdgeclipError, match="no split 'val' there; it has test, train"):
        open_dataset(tmp_path, "val")
    with pytest.raises(EdgeclipError, match="it is not split"):
        open_dataset(tmp_path / "test", "train")


def test_several_classes_and_captions(shards):
    label = io.BytesIO()
    np.save(label, np.array([1, 0, 1]))
    write_tar(shards / "test/0.tar", [("x.png", png("red")), ("x.npy", label.getvalue())])
    (shards / "test/nshards.txt").write_text("1")
    (shards / "dataset_type.txt").write_text("multilabel\n")
    data = open_dataset(shards)
    assert data.several
    assert [label.tolist() for _, label in data] == [[True, False, True]]
    write_tar(shards / "test/0.tar", [("x.png", png("red")), ("x.txt", b"a red square\nred")])
    (shards / "dataset_type.txt").write_text("retrieval\n")
    assert [label for _, label in open_dataset(shards)] == [["a red square", "red"]]


def test_an_archive_of_pickles_is_not_unpickled(shards):
    label = io.BytesIO()
    np.save(label, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    write_tar(shards / "test/0.tar", [("x.png", png("red")), ("x.npy", label.getvalue())])
    (shards / "dataset_type.txt").write_text("multilabel")
    with pytest.raises(FormatError, match="label of x cannot be used"):
        list(open_dataset(shards))


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [
        ("test/nshards.txt", "many", "must hold the number"),
        ("test/nshards.txt", "3", r"2\.tar is missing; there are 3"),
        ("classnames.txt", "red", r"1 is not 0\.\.0"),
        ("zeroshot_classification_templates.txt", "a {} thing", "holds {c} once"),
        ("dataset_type.txt", "video", "known: classification, multilabel, retrieval"),
        ("test/0.tar", "no archive" * 100, "not a tar archive"),
    ],
)
def test_shards_that_are_not_as_they_should_be(shards, file, content, complaint):
    (shards / file).write_text(content)
    with pytest.raises(EdgeclipError, match=complaint):
        list(open_dataset(shards))


def test_an_image_without_a_label(shards):
    write_tar(shards / "test/0.tar", [("x.png", png("red"))])
    with pytest.raises(FormatError, match=r"x has no \.cls"):
        list(open_dataset(shards))


def test_no_such_split(shards):
    with pytest.raises(EdgeclipError, match="no split 'train'"):
        open_dataset(shards, "train")


@pytest.fixture
def server(shards, monkeypatch, tmp_path):
    """Serves the shards; gives the address and what was asked for."""
    asked = []

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    monkeypatch.setenv("EDGECLIP_CACHE", str(tmp_path / "cache"))
    handler = functools.partial(Quiet, directory=str(shards.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}", asked
        served.shutdown()


def test_shards_on_a_web_server_are_fetched_once(server):
    address, asked = server
    for _ in range(2):
        assert len(colours(open_dataset(f"{address}/wds_colours"))) == 6
    assert asked.count("/wds_colours/test/0.tar") == 1
    with pytest.raises(EdgeclipError, match="no such data set"):
        open_dataset(f"{address}/absent")
    with pytest.raises(EdgeclipError, match="cannot be fetched"):
        open_dataset("http://127.0.0.1:9/closed")


@pytest.mark.parametrize("kind", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tar_is_read_as_tarfile_reads_it(tmp_path, kind):
    files = [("a.txt", b"1"), (LONG, b"2" * 513), ("n" * 90 + ".txt", b""), ("b.txt", b"3" * 512)]
    write_tar(tmp_path / "x.tar", files, kind)
    assert list(read_tar(tmp_path / "x.tar")) == files
    assert [name for name, _ in read_tar(tmp_path / "x.tar", contents=False)] == [name for name, _ in files]


def write_hard_links(path, target, names, kind=tarfile.PAX_FORMAT):
    """As tar packs a file that lies in a folder under several names: its content once, and then by its name."""
    with tarfile.open(path, "w", format=kind) as archive:
        info = tarfile.TarInfo(LONG)
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
        for name in names:
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.LNKTYPE, target
            archive.addfile(link)


@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_hard_link_has_the_content_of_what_it_names(kind, tmp_path):
    write_hard_links(tmp_path / "x.tar", LONG, names := ["again.txt", LONG.replace("ü", "u")], kind)
    assert list(read_tar(tmp_path / "x.tar")) == [(name, b"abc") for name in (LONG, *names)]


def test_a_hard_link_to_what_is_not_there_is_refused(tmp_path):
    write_hard_links(tmp_path / "x.tar", "absent.txt", ["again.txt"])
    with pytest.raises(FormatError, match=r"again.txt is a link to absent.txt, which is not in it: pack it again"):
        list(read_tar(tmp_path / "x.tar"))


def test_links_in_an_archive_are_passed_over(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        archive.addfile(tarfile.TarInfo("../../escape.txt"), io.BytesIO())
    assert list(read_tar(tmp_path / "x.tar")) == [("../../escape.txt", b"")]
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar"]


@given(cut=st.integers(0, 4095), flip=st.integers(0, 4095))
def test_damaged_archives_are_one_line(cut, flip, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "damaged.tar"
    write_tar(path, [("a.txt", b"1" * 600), ("b.txt", b"2" * 600)])
    content = bytearray(path.read_bytes())
    content[flip] ^= 0xFF
    path.write_bytes(content[: max(cut, 1)])
    try:
        assert all(len(data) <= 600 for _, data in read_tar(path))
    except FormatError as error:
        assert "\n" not in str(error)
