"""The engine and provider that a profile names are the ones that run, or the figure is not measured."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from edgeclip.base.documents import read_document
from edgeclip.device.facts import describe_device
from edgeclip.measurement.config import MeasureConfig
from edgeclip.measurement.figures import options_of
from edgeclip.measurement.schema import Figures
from edgeclip.profiling.probekit import Kit
from edgeclip.profiling.store import load_profile
from edgeclip.runtime.bundle import Bundle
from edgeclip.runtime.cores import usable_cores
from edgeclip.runtime.engines.registry import find_engine
from edgeclip.runtime.target import Runtime

from ..runtime.playedclock import cost_ns
from ..test_plugins import ENGINE

AZURE = "AzureExecutionProvider"  # every onnxruntime from PyPI has it; it runs none of a tower's operators
TENSORRT = """
import sys
import onnx
import playedclock
import playedtrt

playedclock.start()
from edgeclip.runtime.engines.tensorrt import cuda


class Gpu(playedtrt.PlayedCuda):
    def close(self):
        pass  # its memory is every runner's


class Engine(playedtrt.ICudaEngine):
    def __init__(self, plan):
        super().__init__(plan)
        model = onnx.load_from_string(plan.partition(b"\\n")[2])
        self.session.run = playedclock.paced(self.session.run, model)


gpu = Gpu()
playedtrt.ICudaEngine = Engine
cuda.count_gpus, cuda.Cuda = lambda: 1, lambda: gpu
playedtrt.IExecutionContext.cuda = gpu
played = playedtrt.module("10.3.0")
played.__spec__ = __spec__
sys.modules["tensorrt"] = played
"""
RUNTIMES = {
    "tensorrt": Runtime(name="tensorrt", version="10.3.0", provider="CUDA", threads=1),
    "bare": Runtime(name="bare", version="1.0", provider="CPU", threads=1),
    "azure": Runtime(version=find_engine().version(), provider=AZURE, threads=1),
    "cpu": Runtime(version=find_engine().version(), threads=1),
}


BARE = """

import onnx
import playedclock

playedclock.start()


class Paced(Session):
    def __init__(self, graph):
        super().__init__(graph)
        self.run = playedclock.paced(self.run, onnx.load(str(graph)))


Bare.open = lambda self, graph, **settings: Paced(graph)
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Where a TensorRT that is played, and a toy engine, are installed."""
    folder = tmp_path_factory.mktemp("site")
    for module in ("playedtrt.py", "playedclock.py"):
        shutil.copy(Path(__file__).parents[1] / "runtime" / module, folder)
    (folder / "tensorrt.py").write_text(TENSORRT)
    (folder / "toy_engine.py").write_text(ENGINE + BARE)
    info = folder / "toys-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[edgeclip.engines]\nbare = toy_engine:engine\n")
    return {**os.environ, "PYTHONPATH": str(folder)}


@pytest.fixture(scope="module")
def edgeclip(environment):
    """The command, in a process that has all engines."""

    def call(*words, expect=0):
        command = [sys.executable, "-m", "edgeclip", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == expect, done.stderr
        return json.loads(done.stdout) if "--json" in words and expect != 2 else done.stderr

    return call


@pytest.fixture(scope="module")
def dataset(labelled_dir):
    return labelled_dir


@pytest.fixture(scope="module")
def target(bundle, tmp_path_factory):
    """A profile of this machine, and a bundle for it, in any of the runtimes."""

    def make(name):
        folder = tmp_path_factory.mktemp(name)
        profile = load_profile("x86-avx2-2core")
        own = {"device": describe_device(), "runtime": RUNTIMES[name], "name": name}
        profile.model_copy(update=own).save(folder / "profile.toml")
        shutil.copytree(bundle.path, folder / "bundle")
        (folder / "bundle/bundle.json").chmod(0o644)
        made = {"target": bundle.manifest.target.model_copy(update={"runtime": RUNTIMES[name]})}
        made |= {"recommended": "fp32", "fallback": "fp32", "recommendation": "measured on the target"}
        if name in ("azure", "cpu"):  # one variant is enough
            made["variants"] = bundle.manifest.variants[:1]
        bundle.manifest.model_copy(update=made).save(folder / "bundle/bundle.json")
        return folder

    return make


def judged(edgeclip, folder, dataset, teacher_dir, *more, expect):
    """The latency criterion, and the report."""
    words = ["report", folder / "bundle", "--profile", folder / "profile.toml", "--dataset", dataset, "--force"]
    words += ["--out", folder / "report", "--latency-ms", 10_000, "--teacher", f"local-dir:{teacher_dir}"]
    report = edgeclip(*words, "--seconds", 1, *more, "--json", expect=expect)
    return next(one for one in report["criteria"] if one["name"].startswith("latency")), report


def reference_ms(folder):
    """What the profiles' reference graph takes by the played clock."""
    with Kit() as kit:
        return cost_ns(onnx.load(str(kit.unpack(kit.reference, folder)))) / 1e6


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tensorrt", "bare"])
def test_what_the_profile_names_is_what_runs_and_is_judged(name, target, edgeclip, dataset, teacher_dir, tmp_path):
    folder = target(name)
    figures = folder / "figures.json"
    edgeclip("measure", folder / "bundle", "--dataset", dataset, "--seconds", 1, "--out", figures)
    measured = read_document(figures, Figures)
    assert measured.runtime == RUNTIMES[name]
    assert {row.runtime for row in measured.rows} == {f"{name} {RUNTIMES[name].version}"}
    latency, report = judged(edgeclip, folder, dataset, teacher_dir, "--figures", figures, expect=0)
    assert (latency["met"], report["runtime"]) == (True, RUNTIMES[name].model_dump())
    assert report["reference"]["profile_ms"] > 0, "the reference ran in the engine that the profile was measured in"
    assert report["reference"]["p50_ms"] == pytest.approx(reference_ms(tmp_path), rel=0.1), "on that engine's own clock"
    board = describe_device().model_copy(update={"cpu": "a board"})
    measured.model_copy(update={"device": board}).save(figures)
    profile = load_profile(folder / "profile.toml")
    profile.model_copy(update={"device": board}).save(folder / "profile.toml")
    latency, report = judged(edgeclip, folder, dataset, teacher_dir, "--figures", figures, expect=0)
    assert (latency["met"], report["device"]["cpu"]) == (True, "a board"), "another machine's figures, judged here"
    assert report["host"]["cpu"] == describe_device().cpu
    host = next(row for row in report["rows"] if row["stage"] == "exported fp32, host")
    assert host["runtime"].startswith("onnxruntime "), "here that runs whatever the target's engine is"


@pytest.mark.slow
def test_figures_of_another_engine_than_the_profiles_are_not_measured(target, edgeclip, dataset, teacher_dir):
    folder = target("tensorrt")
    figures = folder / "figures.json"
    asked = ["--dataset", dataset, "--seconds", 1, "--out", figures, "--engine", "onnxruntime"]
    edgeclip("measure", folder / "bundle", *asked)
    assert read_document(figures, Figures).runtime.name == "onnxruntime"
    for more in ((), ("--other-device",)):
        latency, report = judged(edgeclip, folder, dataset, teacher_dir, "--figures", figures, *more, expect=4)
        assert "measured" not in latency and "met" not in latency
        told = "onnxruntime on CPUExecutionProvider ran, not tensorrt on CUDA, which profile tensorrt speaks for"
        assert latency["hint"] == told
        assert "profile_ms" not in report["reference"], "a time is not divided by another engine's"
        assert not any("predicted_ms" in row for row in report["rows"])


@pytest.mark.slow
def test_a_provider_to_which_everything_fell_back_is_not_the_one_asked_for(target, edgeclip, dataset, teacher_dir):
    folder = target("azure")
    figures = folder / "figures.json"
    edgeclip("measure", folder / "bundle", "--dataset", dataset, "--seconds", 1, "--out", figures)
    latency, report = judged(edgeclip, folder, dataset, teacher_dir, "--figures", figures, expect=4)
    assert report["runtime"]["provider"] == AZURE
    assert "measured" not in latency
    assert f"every operator fell back from {AZURE}" in latency["hint"]
    shutil.copy(target("cpu") / "profile.toml", folder / "profile.toml")
    latency, _ = judged(edgeclip, folder, dataset, teacher_dir, "--figures", figures, expect=4)
    assert "measured" not in latency
    assert latency["hint"].startswith(f"onnxruntime on {AZURE} ran, not onnxruntime on CPUExecutionProvider")


def test_a_target_that_is_not_here_is_a_line(target, dataset, teacher_dir, images_dir):
    """This process has neither TensorRT nor a GPU."""
    from ..test_cli import run

    folder = target("tensorrt")
    there = ["--profile", folder / "profile.toml", "--dataset", dataset, "--out", folder / "r"]
    for words in (
        ["measure", folder / "bundle"],
        ["verify", folder / "bundle"],
        ["report", folder / "bundle", *there, "--latency-ms", 1],
        ["classify", folder / "bundle", images_dir / "00.png", "--labels", "a,b"],
        ["eval", folder / "bundle", "--dataset", dataset],
        ["profile", "p", "--engine", "tensorrt", "--out", folder / "p.toml"],
    ):
        told = run(*words, expect=2).stderr.splitlines()[-1]
        assert told.startswith("edgeclip: tensorrt cannot be used here: "), told
        assert "--engine onnxruntime runs a bundle's graphs on any CPU" in told
    asked = ["--engine", "onnxruntime"]
    run("verify", folder / "bundle", *asked)
    run("classify", folder / "bundle", images_dir / "00.png", "--labels", "a,b", *asked)
    run("eval", folder / "bundle", "--dataset", dataset, *asked)


def test_the_lone_runner_runs_its_bundles_target(target, environment, images_dir):
    folder = target("bare")
    command = [sys.executable, folder / "bundle/run.py"]

    def call(*words):
        return subprocess.run([*command, *words], capture_output=True, text=True, env=environment, check=False)

    found = json.loads(call("measure", "--seconds", "0.1").stdout)
    assert {row["opened"]["engine"] for row in found["rows"].values()} == {"bare"}
    assert list(found["rows"]) == ["fp32"], "it reads no other"
    found = json.loads(call("measure", "--seconds", "0.1", "--engine", "onnxruntime").stdout)
    assert {row["opened"]["engine"] for row in found["rows"].values()} == {"onnxruntime"}
    assert json.loads(call("verify").stdout)["verified"]
    picture = images_dir / "00.png"
    assert json.loads(call("classify", picture, "--labels", "a,b").stdout)["images"][0]["labels"]
    alone = subprocess.run([*command, "verify"], capture_output=True, text=True, check=False)
    assert alone.returncode == 2, "a device that lacks the engine is told so"
    assert "no engine is called 'bare' here" in alone.stderr


def test_threads_are_the_targets(target):
    opened = Bundle.open(target("cpu") / "bundle")
    assert options_of(opened, MeasureConfig(), here=True).threads == 1
    assert options_of(opened, MeasureConfig(threads=2), here=True).threads == 2
    many = RUNTIMES["cpu"].model_copy(update={"threads": 4096})
    elsewhere = opened.manifest.target.model_copy(update={"runtime": many})
    opened = replace(opened, manifest=opened.manifest.model_copy(update={"target": elsewhere}))
    assert options_of(opened, MeasureConfig(), here=False).threads == 4096
    assert options_of(opened, MeasureConfig(), here=True).threads == usable_cores()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tensorrt", "bare"])
def test_from_profile_to_verdict(name, edgeclip, teacher_dir, images_dir, dataset, tmp_path):
    """Played engines cannot tell apart what real ones would; that it is they who run, at each stage, they can."""
    asked = ["--engine", name] if name == "bare" else []
    edgeclip("profile", name, "--out", tmp_path / "profile.toml", "--seconds", 20, "--family", "vit", *asked)
    profile = load_profile(tmp_path / "profile.toml")
    assert (profile.runtime.name, profile.runtime.provider) == (name, RUNTIMES[name].provider)
    assert set(profile.precisions) == set({"tensorrt": ("fp32", "fp16", "int8"), "bare": ("fp32",)}[name])
    out, source = tmp_path / "bundle", f"local-dir:{teacher_dir}"
    export = ["export", source, "--calibration", images_dir, "--profile", tmp_path / "profile.toml", "--out", out]
    edgeclip(*export)
    manifest = Bundle.open(out).manifest
    assert manifest.target.runtime == profile.runtime
    assert manifest.recommendation == "measured on the target"
    latency, report = judged(edgeclip, tmp_path, dataset, teacher_dir, expect=0)
    assert (latency["met"], report["runtime"]["name"]) == (True, name)
