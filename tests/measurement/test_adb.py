"""The way over Android's bridge, with a stand-in for the device: adbutils' calls run on this machine."""

import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

from edgeclip.base.errors import EdgeclipError
from edgeclip.measurement.job import verified
from edgeclip.measurement.remote import open_remote

adbutils = pytest.importorskip("adbutils")


class StandIn:
    """Answers as adbutils' device does; its shell is ours, and its files are."""

    def __init__(self, serial, cache):
        self.serial, self._cache = serial, cache
        self.sync = SimpleNamespace(push=self._push, read_bytes=self._read)

    def get_state(self):
        if self.serial != "emulator-5554":
            raise adbutils.AdbError(f"device '{self.serial}' not found")
        return "device"

    def shell2(self, command, **settings):
        environment = {"PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(self._cache)}
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=environment, check=False)
        return SimpleNamespace(returncode=done.returncode, output=done.stdout + done.stderr)

    def _push(self, local, remote):
        shutil.copyfile(local, remote)

    def _read(self, remote):
        with open(remote, "rb") as file:  # noqa: PTH123 (the stand-in for a file of another machine)
            return file.read()


@pytest.fixture
def phone(monkeypatch, tmp_path):
    monkeypatch.setattr(adbutils.adb, "device", lambda serial: StandIn(serial, tmp_path / "cache"))
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
