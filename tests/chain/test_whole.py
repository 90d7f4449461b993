"""The commands one after another on tiny inputs: distil, export, report, eval, classify; and how the work stops."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from importlib import metadata
from pathlib import Path

import pytest
from PIL import Image

from edgeclip.base.documents import read_document
from edgeclip.base.seal import sealed
from edgeclip.device.facts import describe_device
from edgeclip.distillation.config import DistillConfig
from edgeclip.distillation.run import Run
from edgeclip.profiling.store import load_profile
from edgeclip.reporting.criteria import VERIFIED
from edgeclip.reporting.sanity import CHANCE
from edgeclip.reporting.schema import Report
from edgeclip.runtime.bundle import Bundle
from edgeclip.runtime.turns import Taken

from ..test_cli import run

PRECISIONS = ("--precision", "auto", "--precision", "fp16")
BUDGET = ("--latency-ms", "1000", "--memory-mb", "1000", "--size-mb", "10")


@pytest.fixture(scope="module")
def inputs(spec, images_dir, texts_file, tmp_path_factory):
    """Where spec, config, a labelled dataset and the profile of another device lie."""
    folder = tmp_path_factory.mktemp("inputs")
    spec.save(folder / "spec.json")
    another = describe_device().model_copy(update={"cpu": "another"})
    load_profile("x86-avx2-2core").model_copy(update={"device": another}).save(folder / "other.toml")
    DistillConfig(epochs=2, batch_size=10, views=2, checkpoint_seconds=0).save(folder / "config.toml")
    for color in ("red", "green", "blue"):
        (folder / "dataset" / color).mkdir(parents=True)
        for size in (32, 40):
            Image.new("RGB", (size, size), color).save(folder / "dataset" / color / f"{size}.png")
    return folder


@pytest.fixture(scope="module")
def distill(inputs, teacher_dir, images_dir, texts_file):
    arguments = ["distill", "--profile", "x86-avx2-2core", "--teacher", f"local-dir:{teacher_dir}"]
    arguments += ["--images", images_dir, "--texts", texts_file, "--spec", inputs / "spec.json"]
    return [*map(str, arguments), "--config", str(inputs / "config.toml"), "--out"]


@pytest.fixture(scope="module")
def made(distill, tmp_path_factory):
    """A folder in which a run and its bundle were made by the commands."""
    folder = tmp_path_factory.mktemp("chain")
    told = json.loads(run(*distill, folder / "run", "--json").stdout)
    assert told["status"] == "finished"
    told = json.loads(run("export", folder / "run", "--out", folder / "bundle", *PRECISIONS, "--json").stdout)
    assert {v["precision"] for v in told["variants"]} == {"fp32", "fp16", "int8"}
    return folder


@pytest.mark.usefixtures("few_samples")
def test_the_report_has_every_row_and_every_line(made, inputs):
    command = ["report", made / "bundle", "--profile", inputs / "other.toml", "--dataset", inputs / "dataset"]
    command.append("--other-device")
    result = run(*command, "--out", made / "report", "--seconds", 1, *BUDGET, "--json", expect=4)
    report = read_document(made / "report/report.json", Report)
    assert json.loads(result.stdout) == report.as_data()
    stages = ["teacher", "student fp32", "exported fp32", "exported fp16", "exported int8"]
    assert [row.stage for row in report.rows] == stages
    assert [row.compared_to for row in report.rows] == [None, *stages[:2], *["exported fp32"] * 2]
    assert report.rows[2].cosine_worst > 0.99999
    assert all(row.timing.p50_ms <= row.timing.p90_ms <= row.timing.p99_ms <= row.timing.max_ms for row in report.rows)
    assert all(len(row.timing.raw_ms) == row.timing.samples for row in report.rows)
    assert all(Taken(row.timing.raw_ms).enough for row in report.rows)
    assert all(row.load_ms and row.first_ms and row.end_to_end and row.throughput for row in report.rows[2:])
    assert all(sum(spot.share for spot in row.hot_spots) == pytest.approx(1) for row in report.rows[2:])
    assert all(row.flip_interval[0] <= row.flip_rate <= row.flip_interval[1] for row in report.rows[1:])
    assert report.reference.p50_ms > 0
    assert all((row.peak_memory_mb is not None) == row.stage.startswith("exported") for row in report.rows)
    lines = ["latency, p90 of one image", "size of the image tower", "peak memory"]
    doubts = {"answers", "teacher", "nearer"}  # of a student of an epoch, and a teacher of random weights
    judged = [line for line in report.criteria if line.kind not in doubts]
    assert [line.name for line in judged] == [*lines, VERIFIED, CHANCE]
    assert [line.met for line in judged] == [True] * 4 + [None], "six pictures tell nothing of a student"
    assert all(len(row.right) == 6 for row in report.rows)
    assert "not on the device of profile" in report.cautions[0]
    made_by, measured_by = report.commands
    assert made_by == f"edgeclip export {made / 'run'} --out {made / 'bundle'}"
    words, _, machine = measured_by.partition("  # ")
    given = ["edgeclip", *map(str, command), "--out", "report", "--seconds", "1.0"]
    expected = [*given, *(word if word.startswith("-") else f"{float(word)}" for word in BUDGET)]
    assert sorted(shlex.split(words)) == sorted(expected)
    assert describe_device().cpu in machine


@pytest.fixture(scope="module")
def judge(bundle, inputs, tmp_path_factory):
    """Judges what was measured once of a user's own bundle."""
    folder = tmp_path_factory.mktemp("judged")
    run("measure", bundle.path, "--dataset", inputs / "dataset", "--seconds", 1, "--out", folder / "figures.json")
    command = ["report", bundle.path, "--dataset", inputs / "dataset", "--figures", folder / "figures.json"]
    command += ["--profile", inputs / "other.toml", "--other-device", "--force", "--out", folder / "report"]
    return lambda *budget, expect: run(*command, *budget, expect=expect)


def test_what_is_missed_fails(judge):
    assert "MISSED" in judge("--latency-ms", 0.0001, expect=3).stdout
    assert "MISSED" in judge("--memory-mb", 1, expect=3).stdout


def test_what_was_not_measured_is_no_pass(judge):
    result = judge("--accuracy-drop", 5, expect=4)
    assert "not measured" in result.stdout
    assert "--teacher" in result.stdout


@pytest.mark.parametrize(("profile", "why"), [("raspberry-pi-5", "is estimated"), ("other.toml", "of another device")])
def test_no_verdict_by_the_profile_of_another_device(profile, why, bundle, inputs, tmp_path, monkeypatch):
    monkeypatch.chdir(inputs)
    command = ["report", bundle.path, "--profile", profile, "--dataset", inputs / "dataset", "--out", tmp_path / "r"]
    result = run(*command, "--latency-ms", 1000, expect=2)
    assert why in result.stderr
    assert "--other-device" in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_run_and_bundle_answer_alike(made, inputs):
    answers = [
        json.loads(run("eval", made / name, "--dataset", inputs / "dataset", "--json").stdout)
        for name in ("run", "bundle")
    ]
    assert [a["images"] for a in answers] == [6, 6]
    image = inputs / "dataset/red/32.png"
    told = json.loads(run("classify", made / "bundle", image, "--labels", "red, blue,red", "--json").stdout)
    assert {label for label, _ in told[0]["labels"]} == {"red", "blue"}
    assert sum(probabilities for _, probabilities in told[0]["labels"]) == pytest.approx(1)


@pytest.mark.slow
def test_finalists_are_measured_on_the_device_of_the_profile(tmp_path):
    profile = load_profile("x86-avx2-2core")
    runtime = profile.runtime.model_copy(update={"version": metadata.version("onnxruntime")})
    own = profile.model_copy(update={"device": describe_device(), "name": "own", "runtime": runtime})
    own.save(tmp_path / "own.toml")
    command = ["--image-size", 32, "--top", 2, "--precision", "fp32", "--latency-ms", 3, "--json"]
    first, *others = json.loads(run("select", "--profile", tmp_path / "own.toml", *command).stdout)
    assert 0 < first["measured_ms"] < 3
    assert all("measured_ms" not in spec for spec in others)
    assert (
        "measured_ms"
        not in json.loads(run("select", "--profile", tmp_path / "own.toml", "--no-measure", *command).stdout)[0]
    )
    other = profile.model_copy(update={"device": own.device.model_copy(update={"cpu": "another"})})
    other.save(tmp_path / "other.toml")
    assert "stand unmeasured" in run("select", "--profile", tmp_path / "other.toml", *command).stderr


@pytest.mark.slow
def test_from_shards_to_a_bundle(distill, images_dir, tmp_path):
    with tarfile.open(tmp_path / "shard-0.tar", "w") as tar:
        for file in sorted(images_dir.iterdir()):
            tar.add(file, file.name)
    words = [str(tmp_path / "shard-{0..0}.tar") if word == str(images_dir) else word for word in distill]
    run(*words, tmp_path / "run")
    told = json.loads(run("export", tmp_path / "run", "--out", tmp_path / "b", "--precision", "int8", "--json").stdout)
    assert told["calibration"]["images"] == 40


@pytest.mark.slow
def test_ctrl_c_leaves_a_run_that_resumes(distill, inputs, tmp_path):
    config = DistillConfig(epochs=40, batch_size=10, views=2, checkpoint_seconds=0)
    config.save(tmp_path / "config.toml")
    slow = [*distill[:-2], str(tmp_path / "config.toml"), "--out", str(tmp_path / "run")]
    command = [sys.executable, "-m", "edgeclip", *slow]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "run/checkpoint.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=150)
    assert process.returncode == 130
    assert "Traceback" not in complaint
    assert "--resume" in complaint
    assert Run.open(tmp_path / "run").document.status == "running"
    assert f"edgeclip distill --resume {tmp_path / 'run'}" in complaint
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    run("distill", "--resume", tmp_path / "run")
    assert "remove --epochs" in run("distill", "--resume", tmp_path / "run", "--epochs", 3, expect=2).stderr
    whole = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert whole[: len(rows)] == rows
    assert [row["step"] for row in whole] == sorted({row["step"] for row in whole})
    assert Run.open(tmp_path / "run").document.status == "finished"


def test_the_student_that_was_judged_best_is_kept(distill, inputs, tmp_path):
    result = run(*distill, tmp_path / "run", "--dataset", inputs / "dataset", "--json")
    figures = json.loads(result.stdout)["figures"]
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert figures["best_top1"] == max(row["top1"] for row in rows if "top1" in row)
    told = json.loads(run("eval", tmp_path / "run", "--dataset", inputs / "dataset", "--json").stdout)
    assert told["top1"] == figures["best_top1"]
    assert list((tmp_path / "run/edgeclip").glob("events.out.tfevents.*")), "TensorBoard has nothing to show"


def test_a_truncated_run_and_a_newer_one(made, tmp_path):
    (tmp_path / "run").mkdir()
    text = (made / "run/run.json").read_text()
    (tmp_path / "run/run.json").write_text(text[: len(text) // 2])
    assert "truncated" in run("export", tmp_path / "run", "--out", tmp_path / "b", expect=2).stderr
    newer = json.loads(text) | {"version": 99}
    (tmp_path / "run/run.json").write_text(json.dumps(sealed(newer)))
    assert "upgrade edgeclip" in run("export", tmp_path / "run", "--out", tmp_path / "b", expect=2).stderr
    (tmp_path / "run/run.json").write_text(json.dumps(sealed(json.loads(text) | {"status": "running"})))
    assert "--resume" in run("export", tmp_path / "run", "--out", tmp_path / "b", expect=2).stderr
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


SMALL_DISK = "mount -t tmpfs -o size=100k small {folder} && cd {folder} && {command}; c=$?; find . -type f; exit $c"


def can_mount():
    probe = ["unshare", "-rm", "mount", "-t", "tmpfs", "probe", "/mnt"]
    return shutil.which("unshare") is not None and subprocess.run(probe, capture_output=True).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="a small disk is made with unshare(1) and mount(8)")
@pytest.mark.parametrize("stage", ["distill", pytest.param("export", marks=pytest.mark.slow)])
def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(stage, distill, made, tmp_path):
    words = [*distill, "run"] if stage == "distill" else ["export", str(made / "run"), "--out", "bundle"]
    command = shlex.join([sys.executable, "-m", "edgeclip", *words])
    script = SMALL_DISK.format(folder=shlex.quote(str(tmp_path)), command=command)
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert re.search(r"no space left|GB are needed, .* free", done.stderr)
    assert "Traceback" not in done.stderr
    left = [Path(line).name for line in done.stdout.split()]
    assert not [name for name in left if name.startswith(".") or name == "bundle.json"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission(made, tmp_path):
    tmp_path.chmod(0o500)
    assert "no permission" in run("export", made / "run", "--out", tmp_path / "b", expect=2).stderr


def test_a_bundle_opens_where_it_was_copied(made, tmp_path):
    shutil.copytree(made / "bundle", tmp_path / "elsewhere")
    assert Bundle.open(tmp_path / "elsewhere").encoder().encode_text(["a cat"]).shape == (1, 32)


@pytest.mark.skipif(not can_mount(), reason="a small disk is made with unshare(1) and mount(8)")
@pytest.mark.parametrize("stage", [pytest.param("export", marks=pytest.mark.slow), "verify"])
def test_a_full_place_for_scratch_is_named_as_that(stage, made, tmp_path):
    words = ["export", str(made / "run"), "--out", "bundle"] if stage == "export" else ["verify", str(made / "bundle")]
    small = tmp_path / "small"
    small.mkdir()
    command = shlex.join([sys.executable, "-m", "edgeclip", *words])
    script = f"mount -t tmpfs -o size=20k small {small} && cd {tmp_path} && TMPDIR={small} {command}"
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert str(small) in last and "standard output" not in last and "Traceback" not in done.stderr
