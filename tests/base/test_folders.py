"""Folders: made whole or not at all; what edgeclip did not put there stays, and two commands never share one."""

import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeclip.base.errors import EdgeclipError
from edgeclip.base.files import write_text
from edgeclip.base.folders import LOCK, MARK, SCRATCH, locked, new_folder, refuse_foreign


def make(path, content="a", *, force=False, **more):
    with new_folder(path, "cake", "recipe", force=force) as folder:
        for name, text in {"recipe": content, "icing/sugar": content, **more}.items():
            write_text(folder / name, text)


def below(path):
    return {one.relative_to(path).as_posix(): one.read_text() for one in path.rglob("*") if one.is_file()}


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(RuntimeError), new_folder(tmp_path / "not/yet/there", "cake", "recipe") as folder:
        write_text(folder / "recipe", "a")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    make(tmp_path / "cake")
    assert below(tmp_path / "cake").keys() == {"recipe", "icing/sugar", MARK}


@pytest.mark.parametrize("force", [False, True])
def test_what_is_not_ours_is_refused(tmp_path, force):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter").write_text("1")
    with pytest.raises(EdgeclipError, match="chapter, which edgeclip did not put there"):
        make(tmp_path / "thesis", force=force)
    with new_folder(tmp_path / "bread", "bread", "recipe") as folder:
        write_text(folder / "recipe", "flour")
    with pytest.raises(EdgeclipError, match="holds a bread of edgeclip's"):
        make(tmp_path / "bread", force=force)
    (tmp_path / "file").touch()
    with pytest.raises(EdgeclipError, match="not a folder"):
        make(tmp_path / "file", force=force)
    assert below(tmp_path / "thesis") == {"chapter": "1"}
    assert below(tmp_path / "bread")["recipe"] == "flour"


def test_force_replaces_ours_alone(tmp_path):
    make(tmp_path, "old", extra="old", **{"icing/red": "old"})
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "icing/mine").write_text("mine")
    with pytest.raises(EdgeclipError, match="--force"):
        make(tmp_path, "new")
    make(tmp_path, "new", force=True)
    found = below(tmp_path)
    assert json.loads(found.pop(MARK))["files"] == ["icing/sugar", "recipe"]
    assert found == {"recipe": "new", "icing/sugar": "new", "mine": "mine", "icing/mine": "mine"}


def test_a_failure_leaves_what_was_there(tmp_path):
    make(tmp_path, "old")
    before = below(tmp_path)
    with pytest.raises(RuntimeError), new_folder(tmp_path, "cake", "recipe", force=True) as folder:
        write_text(folder / "recipe", "half")
        raise RuntimeError
    assert below(tmp_path) == before


def test_what_a_user_puts_there_meanwhile_is_left_alone(tmp_path):
    with new_folder(tmp_path / "cake", "cake", "recipe") as folder:
        write_text(folder / "recipe", "a")
        (tmp_path / "cake/note").write_text("mine")
    assert below(tmp_path / "cake")["note"] == "mine"
    with (
        pytest.raises(EdgeclipError, match="recipe was put there in the meantime"),
        new_folder(tmp_path / "pie", "cake", "recipe") as folder,
    ):
        write_text(folder / "recipe", "a")
        (tmp_path / "pie/recipe").write_text("mine")
    assert below(tmp_path / "pie") == {"recipe": "mine"}


def test_a_link_an_empty_disk_and_the_folder_one_is_in(tmp_path, monkeypatch):
    (tmp_path / "disk/lost+found").mkdir(parents=True)
    (tmp_path / "link").symlink_to("disk")
    make(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "disk/recipe").is_file()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    make(tmp_path.relative_to(tmp_path))
    assert (tmp_path / "here/recipe").is_file()


HOLD = """
import sys, time
from pathlib import Path
from edgeclip.base.folders import new_folder
with new_folder(Path(sys.argv[1]), "cake", "recipe") as folder:
    (folder / "half").touch()
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that is at work in ``cake``."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "cake")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_two_commands_never_share_a_folder(tmp_path, holder):
    with pytest.raises(EdgeclipError, match=f"in use by process {holder.pid}"):
        make(tmp_path / "cake")
    assert (tmp_path / "cake" / SCRATCH / "half").is_file()


def test_what_a_killed_command_left_is_said_and_cleared(tmp_path, holder, capsys):
    holder.kill()
    holder.wait()
    assert (tmp_path / "cake" / LOCK).is_file()
    make(tmp_path / "cake")
    told = capsys.readouterr().err
    assert f"process {holder.pid} stopped before it finished" in told
    assert f"{SCRATCH} was left by a command that was killed" in told.replace("\n", "")
    assert below(tmp_path / "cake").keys() == {"recipe", "icing/sugar", MARK}


def test_the_lock_goes_with_the_folder_that_nothing_came_into(tmp_path):
    with locked(tmp_path / "a/b"):
        assert (tmp_path / "a/b" / LOCK).read_text() == f"{os.getpid()}\n"
    assert list(tmp_path.iterdir()) == []


@given(st.sampled_from(["../mine", "/etc/passwd", "a/../../mine", "..", "", "c:\\mine", "a\\..\\mine"]))
def test_a_mark_that_points_outside_is_refused(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("hostile")
    make(folder)
    (folder / MARK).write_text(json.dumps({"format": "edgeclip-folder", "version": 1, "kind": "cake", "files": [name]}))
    with pytest.raises(EdgeclipError, match="would leave the folder"):
        refuse_foreign(folder, "cake", force=True)


def test_a_link_that_leads_outside_is_not_followed(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/sugar").write_text("mine")
    make(tmp_path / "cake")
    (tmp_path / "cake/icing/sugar").unlink()
    (tmp_path / "cake/icing").rmdir()
    (tmp_path / "cake/icing").symlink_to(tmp_path / "outside")
    with pytest.raises(EdgeclipError, match="leads out"):
        make(tmp_path / "cake", "new", force=True)
    assert (tmp_path / "outside/sugar").read_text() == "mine"
    assert (tmp_path / "cake/recipe").read_text() == "a"
