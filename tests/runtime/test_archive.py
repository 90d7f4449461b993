"""Bundles in one file: opened like a folder, refused where a member would land outside."""

import io
import os
import random
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgeclip.base.errors import EdgeclipError, FormatError
from edgeclip.runtime import archive
from edgeclip.runtime.archive import unpack
from edgeclip.runtime.bundle import Bundle


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar"])
def test_an_archive_opens_like_its_folder(kind, bundle, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "b"), kind, bundle.path.parent, bundle.path.name)

    opened = Bundle.open(Path(archive))
    pixels = np.zeros((1, 3, 32, 32), np.float32)
    assert np.array_equal(opened.encoder().encode_pixels(pixels), bundle.encoder().encode_pixels(pixels))


def test_nothing_unpacked_is_left_behind(bundle, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "b"), "zip", bundle.path)
    (tmp_path / "tmp").mkdir()
    code = "import sys, edgeclip; print(edgeclip.load(sys.argv[1]).encode_text(['a cat']).shape)"
    command, surroundings = [sys.executable, "-c", code, archive], {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(1, 32)"
    assert list((tmp_path / "tmp").glob("edgeclip-*")) == []


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "..\\evil", "C:\\evil"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_path_that_escapes_is_refused(kind, name, tmp_path):
    archive = tmp_path / f"b.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as file:
            file.writestr(name, "x")
    else:
        with tarfile.open(archive, "w") as file:
            file.addfile(tarfile.TarInfo(name), io.BytesIO())
    (tmp_path / "in").mkdir()
    with pytest.raises(FormatError, match="outside"):
        unpack(archive, tmp_path / "in")
    assert list((tmp_path / "in").iterdir()) == []
    assert not (tmp_path / "evil").exists()


def test_links_are_refused(tmp_path):
    with tarfile.open(tmp_path / "b.tar", "w") as file:
        link = tarfile.TarInfo("bundle.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(link)
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as file:
        entry = zipfile.ZipInfo("bundle.json")
        entry.external_attr = 0o120777 << 16
        file.writestr(entry, "/etc/passwd")
    for name in ("b.tar", "b.zip"):
        with pytest.raises(FormatError, match="link"):
            unpack(tmp_path / name, tmp_path)


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize(
    "names, why",
    [
        (["a", "a/b"], "a file and a folder"),
        (["a/b", "a"], "a file and a folder"),
        (["a", "./a"], "twice"),
        (["n" * 256], "too long a name"),
        ([f"{number}" for number in range(4)], "or 3 files"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_names_that_cannot_all_be_written(names, why, kind, tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MOST", 3)
    file = tmp_path / f"b.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(file, "w") as opened:
            for name in names:
                opened.writestr(zipfile.ZipInfo(name), "x")
    else:
        with tarfile.open(file, "w") as opened:
            for name in names:
                opened.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(FormatError, match=f"b.{kind}: .*{why}"):
        unpack(file, tmp_path / "in")


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar"])
def test_whatever_becomes_of_a_byte_is_success_or_one_line(kind, tmp_path):
    (tmp_path / "b").mkdir()
    for name in ("bundle.json", "image.onnx"):
        (tmp_path / "b" / name).write_text(name * 40)
    whole = Path(shutil.make_archive(str(tmp_path / "whole"), kind, tmp_path / "b")).read_bytes()
    draw, refused, file = random.Random(0), 0, tmp_path / f"spoilt.{kind.replace('gztar', 'tgz')}"
    for number in range(300):
        content = bytearray(whole)
        for _ in range(draw.choice((1, 1, 8))):
            content[draw.randrange(len(content))] = draw.randrange(256)
        file.write_bytes(content[: draw.choice((None, draw.randrange(len(content))))])
        (tmp_path / f"in{number}").mkdir()
        try:
            unpack(file, tmp_path / f"in{number}")
        except FormatError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused


def test_what_is_wrong_inside_is_told_by_the_archives_name(bundle, tmp_path):
    folder = tmp_path / "b"
    shutil.copytree(bundle.path, folder)
    (folder / "golden.safetensors").chmod(0o644)
    (folder / "golden.safetensors").write_bytes(b"another")
    with pytest.raises(FormatError, match=r"mine\.zip: golden\.safetensors"):
        Bundle.open(Path(shutil.make_archive(str(tmp_path / "mine"), "zip", folder)))
    (folder / "bundle.json").unlink()
    with pytest.raises(EdgeclipError, match=r"mine\.zip is not a bundle"):
        Bundle.open(Path(shutil.make_archive(str(tmp_path / "mine"), "zip", folder)))


def test_a_damaged_archive_is_refused(bundle, tmp_path):
    shutil.make_archive(str(tmp_path / "b"), "zip", bundle.path)
    content = (tmp_path / "b.zip").read_bytes()
    (tmp_path / "b.zip").write_bytes(content[: len(content) // 2])
    with pytest.raises(FormatError, match="not an archive"):
        Bundle.open(tmp_path / "b.zip")
    (tmp_path / "b.tar").write_bytes(b"nonsense")
    with pytest.raises(FormatError, match="not an archive"):
        Bundle.open(tmp_path / "b.tar")
