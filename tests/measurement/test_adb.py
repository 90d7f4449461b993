"""The way over Android's bridge, with a stand-in for ``adb`` that runs on this machine what is to run there."""

import sys

import pytest

from edgeclip.base.errors import EdgeclipError
from edgeclip.measurement.job import verified
from edgeclip.measurement.remote import open_remote

ADB = """#!/bin/sh
echo "$@" >> {folder}/asked
case "$*" in
  "-s emulator-5554 shell -T "*) shift 4; XDG_CACHE_HOME={folder}/cache exec sh -c "$*" ;;
  "-s "*) echo "adb: device '$2' not found" >&2; exit 1 ;;
esac
"""


@pytest.fixture
def phone(monkeypatch, tmp_path):
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs/adb").write_text(ADB.format(folder=tmp_path))
    (tmp_path / "programs/adb").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/programs:/usr/bin:/bin")
    return f"adb://emulator-5554{sys.executable}"


def test_a_bundle_is_verified_there(phone, bundle, tmp_path):
    with open_remote(phone) as machine:
        assert verified(machine.verify(bundle.path))
    assert list((tmp_path / "cache/edgeclip/jobs").iterdir()) == []


def test_a_device_that_is_not_there(phone):
    with pytest.raises(EdgeclipError, match="adb devices lists them"), open_remote("adb://R58M123"):
        pass


def test_no_python_there(phone):
    with (
        pytest.raises(EdgeclipError, match="no /nowhere/python there"),
        open_remote("adb://emulator-5554/nowhere/python"),
    ):
        pass
