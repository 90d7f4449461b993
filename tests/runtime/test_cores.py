"""Threads are counted by what the process may use, not by what the machine has."""

import os
import subprocess
import sys

import pytest

from edgeclip.runtime import cores
from edgeclip.runtime.cores import cgroup_quota, usable_cores
from edgeclip.runtime.engines.ort import Onnxruntime


@pytest.fixture
def cgroups(tmp_path, monkeypatch):
    """Control groups of one's own: ``cgroups(own="0::/a/b", files={"a/cpu.max": "..."})``."""

    def make(own, files):
        (tmp_path / "own").write_text(own)
        for name, text in files.items():
            (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "tree" / name).write_text(text)

    monkeypatch.setattr(cores, "OWN_CGROUP", tmp_path / "own")
    monkeypatch.setattr(cores, "CGROUPS", tmp_path / "tree")
    return make


@pytest.mark.parametrize(
    ("own", "files", "quota"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "150000 100000\n"}, 1.5),
        ("0::/a\n", {"a/cpu.max": "300000 100000", "cpu.max": "max 100000"}, 3.0),
        ("0::/\n", {"cpu.max": "max 100000"}, None),
        (
            "3:cpuset:/\n2:cpu,cpuacct:/box\n",
            {"cpu,cpuacct/box/cpu.cfs_quota_us": "50000", "cpu,cpuacct/box/cpu.cfs_period_us": "100000"},
            0.5,
        ),
        ("1:cpu:/\n0::/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("", {}, None),
    ],
)
def test_the_least_quota_of_all_groups_holds(own, files, quota, cgroups):
    cgroups(own, files)
    assert cgroup_quota() == quota


def test_a_quota_takes_cores_away_and_never_adds_any(cgroups, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    for quota, usable in (("250000 100000", 2), ("50000 100000", 1), ("900000 100000", 4), ("max 100000", 4)):
        cgroups("0::/\n", {"cpu.max": quota})
        assert usable_cores() == usable


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="affinity is Linux's")
def test_a_session_of_a_process_on_one_core_has_one_thread(bundle):
    code = (
        "import os, sys; from pathlib import Path; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
        "from edgeclip.runtime.engines.ort import Onnxruntime\n"
        "print(Onnxruntime().open(Path(sys.argv[1])).threads)"
    )
    command = [sys.executable, "-c", code, str(bundle.path / "image.fp32.onnx")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "1"


def test_threads_that_are_asked_for_are_taken(bundle):
    session = Onnxruntime().open(bundle.path / "image.fp32.onnx", threads=3)
    assert session.threads == 3
    session = Onnxruntime().open(bundle.path / "image.fp32.onnx")
    assert session.threads == usable_cores()
