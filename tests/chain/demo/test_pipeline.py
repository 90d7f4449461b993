"""The demo on a handful of drawings: every step, each with a file that the next one reads."""

import json

import numpy as np
import pytest
from PIL import Image

from edgeclip.base.documents import read_document
from edgeclip.base.folders import mark
from edgeclip.chain.demo import pace, pipeline
from edgeclip.device.facts import describe_device, target_here
from edgeclip.distillation.run import Run
from edgeclip.profiling.schema import Budget
from edgeclip.profiling.store import load_profile
from edgeclip.reporting.schema import SANITY, Report
from edgeclip.runtime.bundle import Bundle

from ...test_cli import run


@pytest.fixture
def started(tmp_path, few_samples, monkeypatch):
    """A demo whose drawings and profile are there already: few of the ones, another's prices in the other."""
    data, draw = tmp_path / "demo/data", np.random.default_rng(0)
    for folder in ("train", "heldout/red", "heldout/blue"):
        (data / folder).mkdir(parents=True)
    for number in range(40):
        pixels = draw.integers(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(pixels).save(data / f"train/{number}.png")
    for color in ("red", "blue"):
        Image.new("RGB", (64, 64), color).save(data / f"heldout/{color}/1.png")
    (data / "sentences.txt").write_text("\n".join(f"a drawing of number {number}" for number in range(60)))
    (data / "dataset.json").write_text("{}")
    found = {"name": "demo", "device": describe_device(), "runtime": target_here().runtime}
    profile = load_profile("x86-avx2-2core").model_copy(update={**found, "budget": Budget(latency_ms=2.0)})
    profile.save(tmp_path / "demo/profile.toml")
    mark(tmp_path / "demo", pipeline.KIND)
    monkeypatch.setattr(pipeline, "REPORT_SECONDS", 0.2)
    monkeypatch.setattr(pipeline, "FINALISTS", 1)
    monkeypatch.setattr(pace, "SECONDS", 0.1)
    monkeypatch.setattr(pace, "FEWEST", 2)
    return tmp_path / "demo"


@pytest.mark.slow
def test_every_step_leaves_what_the_next_one_reads(started):
    told = run("demo", "--out", started, expect=None)  # on so few drawings its promises are a matter of luck
    report = read_document(started / "report.json", Report)
    assert told.exit_code == report.exit_code in (3, 4)
    stages = ["teacher", "student fp32", "exported fp32", "exported int8"]
    assert [row.stage for row in report.rows] == stages
    assert all(row.timing and row.top1 is not None for row in report.rows)
    assert {one.name for one in report.criteria if one.why == "promise"} >= {"speed against the teacher"}
    assert {one.kind for one in report.criteria if one.met is None} <= {"latency", "promise", *SANITY}
    assert Run.open(started / "run").document.spec.target.profile == "demo"
    assert Bundle.open(started / "bundle").manifest.recommendation == "measured on the target"
    commands = [line.split("$ ")[1].split()[1] for line in told.stderr.splitlines() if "$ edgeclip" in line]
    assert commands == ["profile", "export", "select", "distill", "export", "report"]
    assert json.loads((started / "student.json").read_text())["budget"]["latency_ms"] == pytest.approx(1.4)
