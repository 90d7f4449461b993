"""The probe on this machine: measured, saved, interrupted, refused."""

import json
import zipfile

import numpy as np
import pytest

from edgeclip.base.errors import EdgeclipError, FormatError
from edgeclip.device.facts import describe_device
from edgeclip.profiling import probe
from edgeclip.profiling.probekit import KIT, Kit
from edgeclip.profiling.store import load_profile
from edgeclip.runtime.cores import usable_cores
from edgeclip.runtime.engines.registry import find_engine
from edgeclip.runtime.timing import Samples


@pytest.fixture(autouse=True)
def trusting(monkeypatch):
    """Machines that run tests are restless."""
    monkeypatch.setattr(probe, "UNTRUSTED", 1e6)


def test_the_probe_measures_this_machine(tmp_path):
    found = probe.profile("here", seconds=5, threads=1, precisions=("fp32",))
    assert found.provenance == "measured"
    assert found.device == describe_device()
    assert found.precisions == ["fp32"]
    assert found.runtime.threads == 1
    assert 20 < found.base_memory_mb < 400
    assert {row.family for row in found.latency} >= {"vit", "repvit"}, "the first graphs span the families"
    found.save(tmp_path / "here.toml")
    assert load_profile(tmp_path / "here.toml") == found
    assert usable_cores() >= 1


def test_ctrl_c_keeps_what_was_measured(monkeypatch):
    turns = iter(range(18))
    real = probe.take_turn

    def turn(reference, own):
        if next(turns, None) is None:
            raise KeyboardInterrupt
        return real(reference, own)

    monkeypatch.setattr(probe, "take_turn", turn)
    found = probe.profile("short", seconds=600, threads=1, precisions=("fp32",))
    assert len(found.latency) == 18
    assert "incomplete" in found.flags
    turns = iter(range(3))
    with pytest.raises(EdgeclipError, match="interrupted after 3 graphs"):
        probe.profile("short", seconds=600, threads=1, precisions=("fp32",))


def test_a_restless_machine_is_refused(monkeypatch):
    monkeypatch.setattr(probe, "UNTRUSTED", 0.0)
    with pytest.raises(EdgeclipError, match="too noisy"):
        probe.profile("noise", seconds=1, threads=2, precisions=("fp32",))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"name": "../up"}, "cannot name a profile"),
        ({"seconds": 0}, "too short to measure"),
        ({"threads": 0}, "threads"),
        ({"provider": "CUDAExecutionProvider"}, "no provider 'CUDAExecutionProvider' here; name one of: "),
        ({"engine": "onnxrutime"}, "no engine is called 'onnxrutime' here; there are: onnxruntime"),
        ({"precisions": ("fp16",)}, "no kernels of its own"),
    ],
)
def test_unfit_arguments(arguments, complaint):
    with pytest.raises(EdgeclipError, match=complaint):
        probe.profile(**{"name": "p", **arguments})


def test_the_kit_is_small_and_whole():
    assert KIT.stat().st_size < 3e6
    with Kit() as kit:
        names = {recipe: [g.name for g in kit.choose(recipe)] for recipe in ("fp32", "x86", "x86-vnni", "arm")}
        assert names["fp32"] == names["x86"] == names["x86-vnni"] == names["arm"] == list(kit.index.towers)
        assert {g.activations for g in kit.choose("arm")} == {"int8"}
        small = next(g for g in kit.choose("x86") if g.name.startswith("mobilenetv4"))
        assert kit.open(small, find_engine(), threads=1)().shape == (1, 512)


def test_a_damaged_kit_is_refused(tmp_path):
    for content, complaint in (({"index.json": "{}"}, "cannot be used"), ({}, "missing or damaged")):
        path = tmp_path / "kit.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in content.items():
                archive.writestr(name, text)
        with pytest.raises(FormatError, match=complaint):
            Kit(path)
    with zipfile.ZipFile(KIT) as whole, zipfile.ZipFile(path, "w") as archive:
        index = json.loads(whole.read("index.json"))
        archive.writestr("index.json", json.dumps(index))
        archive.writestr("graphs", b"short")
    with Kit(path) as kit, pytest.raises(FormatError, match="cut off"):
        kit.open(kit.reference, find_engine())


def test_a_graphs_figure_is_its_time_over_the_references_beside_it():
    def taken(*ms):
        return Samples(np.array(ms))

    turns = [(taken(2.0, 2.0, 9.0), taken(1.0, 1.0, 1.0)), (taken(6.0), taken(2.0)), (taken(8.0), taken(2.0))]
    assert probe.Series(None, turns).relative == 3.0, "the median of 2, 3 and 4"
