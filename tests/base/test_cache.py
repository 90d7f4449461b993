"""Where the cache lies when there is no home, as in containers."""

import os
import tempfile

import pytest

from edgeclip.base import folders
from edgeclip.base.errors import EdgeclipError
from edgeclip.base.folders import cache_folder
from edgeclip.base.trust import is_ours, sign


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """No cache is named, and home is where nothing can be written."""
    for name in ("EDGECLIP_CACHE", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/proc/none")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folders._cache_of_the_moment.cache_clear()
    yield tmp_path
    folders._cache_of_the_moment.cache_clear()


def test_without_a_home_the_cache_goes_where_it_can_and_says_so_once(nowhere, capsys):
    there = nowhere / f"edgeclip-cache-{os.getuid()}"
    assert cache_folder() == cache_folder() == there
    assert there.stat().st_mode & 0o077 == 0
    said = capsys.readouterr().err
    assert said.count("nothing can be written to /proc/none/.cache/edgeclip") == 1 and "EDGECLIP_CACHE" in said
    assert not is_ours(sign("a", "b"), "a", "b"), "nobody can sign without a place for a key"


def test_a_folder_of_another_user_is_no_cache(nowhere):
    if os.geteuid():
        pytest.skip("only root makes another's folder")
    there = nowhere / f"edgeclip-cache-{os.getuid()}"
    there.mkdir()
    os.chown(there, 12345, -1)
    with pytest.raises(EdgeclipError, match=r"another user's.*EDGECLIP_CACHE"):
        cache_folder()


def test_a_named_cache_and_a_home_are_used(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGECLIP_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("EDGECLIP_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache/edgeclip"


def test_a_user_without_an_entry_has_a_cache(monkeypatch, nowhere):
    """``docker --user 12345``: no name, no home. The process has imported everything: its files may be of others."""
    if os.geteuid():
        pytest.skip("only root becomes another user")
    monkeypatch.setenv("HOME", "/")
    for folder in (nowhere, *nowhere.parents[:3]):
        folder.chmod(0o777)
    reads, writes = os.pipe()
    if (child := os.fork()) == 0:
        os.setuid(12345)
        try:
            os.write(writes, os.fsencode(cache_folder()))
        finally:
            os._exit(0)
    os.close(writes)
    with os.fdopen(reads, "rb") as told:
        assert os.fsdecode(told.read()) == str(nowhere / "edgeclip-cache-12345")
    os.waitpid(child, 0)
