"""Files are written whole or not at all, and read with every fault named."""

import errno
import json
import os
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeclip.base.documents import Document, read_document
from edgeclip.base.errors import EdgeclipError, FormatError, MissingExtra, did_you_mean, folder_of, require
from edgeclip.base.files import (
    mendable,
    refuse_too_large,
    sha256,
    writable,
    writable_file,
    write_json,
    write_marked,
)


class Note(Document):
    FORMAT: ClassVar[str] = "edgeclip-note"
    VERSION: ClassVar[int] = 2
    title: str
    count: int


@pytest.mark.parametrize("suffix", [".json", ".toml"])
@given(title=st.text(st.characters(codec="utf-8")), count=st.integers(-(10**15), 10**15))
def test_what_is_saved_is_read_back(tmp_path_factory, suffix, title, count):
    path = tmp_path_factory.mktemp("notes") / f"note{suffix}"
    Note(title=title, count=count).save(path)
    assert read_document(path, Note) == Note(title=title, count=count)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('{"format": "edgeclip-note", "version": 2, "ti', "truncated or not valid JSON"),
        ('{"format": "something-else", "version": 1}', "not an edgeclip-note file"),
        ("[1, 2]", "not an edgeclip-note file"),
        ('{"format": "edgeclip-note", "version": 3, "title": "a", "count": 1}', "upgrade edgeclip"),
        ('{"format": "edgeclip-note", "version": "1", "title": "a", "count": 1}', "upgrade edgeclip"),
    ],
)
def test_a_file_that_is_not_ours_is_one_line(tmp_path, content, complaint):
    path = tmp_path / "note.json"
    path.write_text(content)
    with pytest.raises(FormatError, match=complaint) as caught:
        read_document(path, Note)
    assert "\n" not in str(caught.value)


def test_every_fault_is_named_at_once(tmp_path):
    path = tmp_path / "note.json"
    write_json(path, {"format": "edgeclip-note", "version": 1, "count": "many", "colour": "red"})
    with pytest.raises(FormatError, match="3 fault") as caught:
        read_document(path, Note)
    assert all(word in str(caught.value) for word in ("title", "count", "colour"))


def test_a_missing_file_and_a_binary_one(tmp_path):
    with pytest.raises(EdgeclipError, match="no such file"):
        read_document(tmp_path / "absent.json", Note)
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EdgeclipError, match="cannot be read"):
        read_document(tmp_path / "binary.json", Note)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"value": 1})
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(path, {"value": float("nan")})
    assert json.loads(path.read_text()) == {"value": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_what_edgeclip_did_not_write_is_not_replaced(tmp_path):
    thesis, note, plot = tmp_path / "thesis.md", tmp_path / "note.toml", tmp_path / "plot.svg"
    thesis.write_text("edgeclip in my thesis")
    Note(title="a", count=1).save(note)
    write_marked(plot, "<svg/>")
    for force in (False, True):
        with pytest.raises(EdgeclipError, match="edgeclip did not write it"):
            writable_file(thesis, force=force)
    for own in (note, plot):
        with pytest.raises(EdgeclipError, match="--force"):
            writable_file(own)
        writable_file(own, force=True)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(EdgeclipError, match="did not write it"):
        writable_file(tmp_path / "pipe", force=True)


def test_too_little_room_is_known_before_the_work(tmp_path):
    refuse_too_large(tmp_path / "not/yet/there", 1)
    with pytest.raises(EdgeclipError, match=r"about 1000000\.00 GB are needed"):
        refuse_too_large(tmp_path / "not/yet/there", 10**15)


@pytest.mark.parametrize(
    ("number", "complaint"), [(errno.ENOSPC, "no space left"), (errno.EACCES, "no permission"), (errno.EISDIR, "way")]
)
def test_what_the_system_refuses_is_one_mendable_line(number, complaint):
    with pytest.raises(EdgeclipError, match=complaint), mendable(Path("out")):
        raise OSError(number, "refused")


def test_other_system_errors_stay_bugs():
    with pytest.raises(TimeoutError), mendable(Path("out")):
        raise OSError(errno.ETIMEDOUT, "a bug")


def test_a_full_disk(tmp_path):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    with pytest.raises(EdgeclipError, match="no space left"), mendable(tmp_path), full.open("wb", buffering=0) as file:
        file.write(b"x")


def test_whether_a_path_is_writable_is_known_before_the_work(tmp_path):
    writable(tmp_path / "not/yet/there")
    (tmp_path / "file").touch()
    with pytest.raises(EdgeclipError, match="is a file"):
        writable(tmp_path / "file/below")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_sha256(tmp_path):
    (tmp_path / "empty").touch()
    assert sha256(tmp_path / "empty").startswith("e3b0c44298fc1c14")


def test_a_missing_extra_names_the_command():
    with pytest.raises(MissingExtra, match=r"pip install 'edgeclip\[distill\]'"):
        require("no_such_package_here.part", "distill")
    with pytest.raises(MissingExtra, match=r"no_such_package_here is not installed: pip install 'edgeclip\[demo\]'"):
        folder_of("no_such_package_here", "demo")


def test_a_package_of_data_is_found_and_not_imported(tmp_path, monkeypatch):
    (tmp_path / "only_data").mkdir()
    (tmp_path / "only_data/__init__.py").write_text("raise SyntaxError('for another Python')")
    monkeypatch.syspath_prepend(tmp_path)
    assert folder_of("only_data", "demo") == tmp_path / "only_data"


def test_near_names_are_offered():
    assert did_you_mean("raspbery-pi-5", ["raspberry-pi-5", "jetson"]) == "did you mean raspberry-pi-5?"
    assert did_you_mean("zzz", ["b", "a"]) == "known: a, b"
