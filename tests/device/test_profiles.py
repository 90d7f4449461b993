"""Profiles: shipped, saved, refused; predictions from a fitted line; the probe on this machine."""

import numpy as np
import pytest

from edgeclip.device.costmodel import FEATURES, fit, predict_ms
from edgeclip.device.facts import describe_device, usable_cores
from edgeclip.device.probe import profile
from edgeclip.device.schema import Latency, Profile, Workload
from edgeclip.device.store import list_profiles, load_profile
from edgeclip.errors import EdgeclipError, FormatError
from edgeclip.files import read_document


def workload(seed):
    draw = np.random.default_rng(seed)
    return Workload(
        family="vit",
        linear_gflops=draw.uniform(0.01, 3),
        attention_gflops=draw.uniform(0.001, 0.3),
        elementwise_melems=draw.uniform(0.1, 5),
        depth=int(draw.integers(2, 12)),
        tokens=int(draw.integers(5, 200)),
        params_m=draw.uniform(0.1, 30),
    )


def measured(seed, line):
    load = workload(seed)
    relative = sum(line.get(name, 0) * (1 if name == "constant" else getattr(load, name)) for name in FEATURES)
    times = {"p50_ms": relative, "p90_ms": relative, "relative": relative, "spread": 0.0}
    return Latency(name=str(seed), precision="fp32", workload=load, runs=9, warmup=1, **times)


def test_a_line_is_found_again():
    line = {"linear_gflops": 2.0, "depth": 0.1, "constant": 0.3}
    found = fit([measured(seed, line) for seed in range(20)])
    assert found.held_out_error < 1e-6
    assert {k: round(v, 6) for k, v in found.coefficients.items() if v > 1e-9} == line


def test_too_few_measurements_are_refused():
    with pytest.raises(EdgeclipError, match="needs"):
        fit([measured(seed, {"constant": 1.0}) for seed in range(4)])


def test_shipped_profiles_say_what_they_are():
    found = {p.name: p for p in list_profiles()}
    assert found["x86-avx2-2core"].provenance == "measured"
    assert found["x86-avx2-2core"].latency
    assert found["raspberry-pi-5"].provenance == "estimated"
    assert found["raspberry-pi-5"].sources
    assert all(predict_ms(p, workload(1), "int8") > 0 for p in found.values())


def test_an_unknown_name_lists_near_ones():
    with pytest.raises(EdgeclipError, match="did you mean raspberry-pi-5"):
        load_profile("rasberry-pi-5")
    with pytest.raises(EdgeclipError, match="no such file"):
        load_profile("absent.toml")


def test_faults_are_named_together(tmp_path):
    shipped = load_profile("x86-avx2-2core")
    path = tmp_path / "edited.toml"
    shipped.save(path)
    text = path.read_text().replace("cores = 2", "cores = 0", 1)
    first = f"p50_ms = {shipped.latency[0].p50_ms}"
    assert first in text
    path.write_text(text.replace(first, "p50_ms = -1.0", 1))
    with pytest.raises(FormatError, match="2 fault") as caught:
        load_profile(path)
    assert all(where in str(caught.value) for where in ("device.cores", "latency.0.p50_ms"))


def test_a_profile_cannot_call_itself_measured_with_an_empty_table(tmp_path):
    honest = load_profile("raspberry-pi-5")
    path = tmp_path / "p.toml"
    honest.model_copy(update={"provenance": "measured"}).save(path)
    with pytest.raises(FormatError, match="latency table is empty"):
        read_document(path, Profile)


def test_a_precision_the_profile_does_not_speak_for():
    with pytest.raises(EdgeclipError, match="fp16"):
        predict_ms(load_profile("x86-avx2-2core"), workload(1), "fp16")


def test_the_probe_measures_this_machine(tmp_path):
    found = profile("here", seconds=8, threads=1, precisions=("fp32",))
    assert found.provenance == "measured"
    assert found.device == describe_device()
    assert found.precisions == ["fp32"]
    assert found.runtime.threads == 1
    found.save(tmp_path / "here.toml")
    assert load_profile(tmp_path / "here.toml") == found
    assert usable_cores() >= 1
