"""Scratch is gone at the end; what a killed process left goes with the next, and what a living one has stays."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from edgeclip.base.errors import EdgeclipError
from edgeclip.base.files import write_text
from edgeclip.base.folders import refuse_foreign
from edgeclip.base.scratch import HOST, clear_scratch, scratch_folder
from edgeclip.distillation.run import refuse_in_the_way

from ..test_cli import run


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def dead():
    """The number of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_it_is_there_and_then_it_is_not(place):
    with scratch_folder() as folder:
        (folder / "file").write_text("x")
        assert folder.parent == place
    assert list(place.iterdir()) == []


def test_what_a_killed_process_left_is_told_and_cleared(place, dead):
    left = place / f"edgeclip-{HOST}-{dead}-abc"
    alive = place / f"edgeclip-{HOST}-{os.getpid()}-abc"
    others = place / f"edgeclip-00000000-{dead}-abc"  # another machine's, on a disk that both see
    strange = place / "edgeclip-mine"
    for folder in (left, alive, others, strange):
        (folder / "below").mkdir(parents=True)
    told = run("profiles").stderr
    assert {path for path in (left, alive, others, strange) if path.exists()} == {alive, others, strange}
    assert f"{left.name} was left by a command that was killed: cleared" in told.replace("\n", "")
    assert "was left" not in run("profiles").stderr


def test_a_file_that_was_not_finished_is_cleared_by_the_next(tmp_path, dead):
    file = tmp_path / "run[1].json"
    left = tmp_path / f".run[1].json.{HOST}-{dead}.abc"
    alive = tmp_path / f".run[1].json.{HOST}-{os.getpid()}.abc"
    other = tmp_path / f".other.json.{HOST}-{dead}.abc"
    for one in (left, alive, other):
        one.write_text("half")
    write_text(file, "whole")
    assert sorted(tmp_path.iterdir()) == sorted([file, alive, other])


def test_a_folder_with_nothing_but_an_unfinished_file_is_empty(tmp_path, dead):
    """A run that was killed while it wrote the first of its files is begun anew, and so is any other folder."""
    left = tmp_path / f".run.json.{HOST}-{dead}.abc"
    left.write_text("half")
    refuse_in_the_way(tmp_path)
    assert not left.exists()
    left.write_text("half")
    assert refuse_foreign(tmp_path, "bundle") == set()
    alive = tmp_path / f".run.json.{HOST}-{os.getpid()}.abc"
    alive.write_text("half")
    for refuses in (refuse_in_the_way, lambda path: refuse_foreign(path, "bundle")):
        with pytest.raises(EdgeclipError, match="choose another --out"):
            refuses(tmp_path)


KILLED = """
import os, signal, sys, tempfile
from pathlib import Path
from edgeclip.base import files
from edgeclip.base.scratch import scratch_folder

tempfile.tempdir = sys.argv[1]
with scratch_folder() as folder:
    (folder / "large").write_bytes(b"x" * 1000)
    files.os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
    files.write_text(Path(sys.argv[1]) / "file.txt", "half of it")
"""


def test_a_real_kill_leaves_nothing_that_the_next_does_not_clear(place):
    done = subprocess.run([sys.executable, "-c", KILLED, str(place)], check=False)
    assert done.returncode == -9
    assert len(list(place.iterdir())) == 2
    assert [one.name for one in clear_scratch()] != []
    write_text(Path(place) / "file.txt", "whole")
    assert [path.name for path in place.iterdir()] == ["file.txt"]


def test_a_long_name_has_room_for_its_neighbour(tmp_path):
    file = tmp_path / ("n" * 250)
    write_text(file, "x")
    assert file.read_text() == "x"
