"""Distilling: a tiny run end to end, interrupted and resumed, and what it refuses."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import open_clip
import psutil
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from edgeclip.base.errors import EdgeclipError, FormatError
from edgeclip.data.training import TrainingData
from edgeclip.distillation.config import DistillConfig
from edgeclip.distillation.pipeline import Validation, distill
from edgeclip.distillation.run import Run
from edgeclip.distillation.trainer import Trainer


@pytest.fixture(scope="module")
def run(spec, tiny, images_dir, texts_file, config, tmp_path_factory):
    return distill(
        spec, [tiny], TrainingData(images_dir, texts_file), tmp_path_factory.mktemp("runs") / "run", config=config
    )


def rows(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_run_ends_with_a_student_that_learned(run):
    assert Run.open(run.path).document.status == "finished"
    logged = rows(run.path / "metrics.jsonl")
    assert logged[-1]["step"] == 11
    assert logged[-1]["loss"] < logged[0]["loss"]
    assert logged[0]["loss"] == pytest.approx(logged[0]["vl"] + logged[0]["pvl"], rel=1e-5)


def test_the_student_loads_in_stock_open_clip_with_equal_outputs(run, teacher):
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{run.student_dir}")
    image, student = Image.new("RGB", (40, 50), "teal"), run.encoder()
    with torch.no_grad():
        theirs = model.eval().encode_image(transform(image)[None], normalize=True).numpy()
    assert np.allclose(student.encode_image([image]), theirs, atol=1e-5)
    assert np.allclose(student.encode_text(["a cat"]), teacher.encode_text(["a cat"]), atol=1e-6)


def test_few_images_and_broken_ones(spec, tiny, texts_file, config, tmp_path, capsys):
    folder = tmp_path / "images"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for number in range(200):
        Image.fromarray(draw.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / f"{number:03d}.png")
    for name in ("007.png", "113.png", "199.png"):
        (folder / name).write_bytes((folder / name).read_bytes()[:40])
    run = distill(spec, [tiny], TrainingData(folder, texts_file), tmp_path / "run", config=config)
    assert "3 unreadable image(s) skipped: 007.png, 113.png, 199.png" in capsys.readouterr().err
    assert run.document.figures.images == 197
    assert run.document.figures.skipped == ["007.png", "113.png", "199.png"]


RUNNER = """
import sys
from pathlib import Path
from edgeclip import load
from edgeclip.data.training import TrainingData
from edgeclip.distillation.config import DistillConfig
from edgeclip.distillation.pipeline import distill
from edgeclip.distillation.teachers import as_teacher
from edgeclip.base.documents import read_document
from edgeclip.towers.spec import StudentSpec
spec, teacher, images, texts, out, config = sys.argv[1:]
data = TrainingData(images, texts)
distill(read_document(Path(spec), StudentSpec), [as_teacher("tiny", load("local-dir:" + teacher))], data, Path(out),
        config=read_document(Path(config), DistillConfig), resume=Path(out, "run.json").exists())
"""


@pytest.fixture
def command(spec, teacher_dir, images_dir, texts_file, tmp_path):
    """The words that start RUNNER on the tiny inputs, for an output folder and settings."""
    spec.save(tmp_path / "spec.json")
    (tmp_path / "runner.py").write_text(RUNNER)

    def words(out, settings):
        settings.save(tmp_path / f"{out}.toml")
        inputs = [tmp_path / "spec.json", teacher_dir, images_dir, texts_file, tmp_path / out, tmp_path / f"{out}.toml"]
        return [str(tmp_path / "runner.py"), *map(str, inputs)]

    return words


@pytest.fixture
def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def test_killed_and_resumed_is_equal_to_the_bit(command, environment, config, tmp_path):
    config = config.model_copy(update={"epochs": 40})
    subprocess.run([sys.executable, *command("whole", config)], check=True, env=environment, capture_output=True)
    process = subprocess.Popen([sys.executable, *command("cut", config)], env=environment, stderr=subprocess.DEVNULL)
    checkpoint = tmp_path / "cut/checkpoint.safetensors"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert Run.open(tmp_path / "cut").document.status == "running", "it was not cut short: the test shows nothing"
    subprocess.run([sys.executable, *command("cut", config)], check=True, env=environment, capture_output=True)
    whole, cut = (load_file(tmp_path / name / "student/open_clip_model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


LAUNCH = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


def close_weights(one, two):
    """Whether two students' weights are equal to 1e-4."""
    one, two = (load_file(run / "student/open_clip_model.safetensors") for run in (one, two))
    for weights in (one, two):
        # A key's bias shifts all of a query's scores alike, so its gradient is rounding alone, which Adam blows up.
        for name in [name for name in weights if name.endswith("attn.in_proj_bias")]:
            weights[name].view(3, -1)[1] = 0
    return all(torch.allclose(one[name].float(), two[name].float(), atol=1e-4) for name in one)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text_tower", "micro", "close"),
    [("teacher", None, 1e-5), ("student", None, 1e-4), ("student", 2, 1e-4)],  # two towers round twice
)
def test_two_processes_are_one_with_the_whole_batch(command, environment, config, tmp_path, text_tower, micro, close):
    changes = {"epochs": 5, "ema": 0.0, "text_tower": text_tower}  # 20 steps
    config = config.model_copy(update=changes)
    parts = config.model_copy(update={"micro_batch": micro})
    for name, first, settings in (("one", [], config), ("two", LAUNCH, parts)):
        words = [sys.executable, *first, *command(name, settings)]
        subprocess.run(words, check=True, env=environment, capture_output=True)
    one, two = (rows(tmp_path / name / "metrics.jsonl") for name in ("one", "two"))
    assert len(one) == len(two) >= 3
    assert all(a["loss"] == pytest.approx(b["loss"], abs=close, rel=close) for a, b in zip(one, two, strict=True))
    assert close_weights(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
def test_one_process_goes_on_where_one_of_two_was_killed(command, environment, config, tmp_path):
    config = config.model_copy(update={"epochs": 5, "ema": 0.0})
    subprocess.run([sys.executable, *command("whole", config)], check=True, env=environment, capture_output=True)
    words = [sys.executable, *LAUNCH, *command("cut", config)]
    with psutil.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as launcher:
        deadline = time.monotonic() + 120
        while not (tmp_path / "cut/checkpoint.safetensors").exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        rank = next(one for one in launcher.children(recursive=True) if one.environ().get("RANK") == "1")
        rank.send_signal(signal.SIGKILL)
        assert launcher.wait(120), "torchrun tells of it"
    assert Run.open(tmp_path / "cut").document.status == "running", "it was not cut short: the test shows nothing"
    words = [sys.executable, *command("cut", config)]
    told = subprocess.run(words, check=True, env=environment, capture_output=True, text=True).stderr
    assert "resumed at step" in told
    assert close_weights(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler here")
def test_a_compiled_student_learns_the_same(spec, tiny, images_dir, texts_file, config, tmp_path):
    for compiled in (False, True):
        settings = config.model_copy(update={"compile": compiled})
        distill(spec, [tiny], TrainingData(images_dir, texts_file), tmp_path / str(compiled), config=settings)
    assert close_weights(tmp_path / "True", tmp_path / "False")


def test_what_cannot_be_compiled_says_so_first(spec, tiny, images_dir, texts_file, config, tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    settings = config.model_copy(update={"compile": True})
    with pytest.raises(EdgeclipError, match="needs the C\\+\\+ compiler no-such-compiler"):
        distill(spec, [tiny], TrainingData(images_dir, texts_file), tmp_path / "run", config=settings)


def test_a_batch_larger_than_the_data_is_said(spec, tiny, images_dir, texts_file, config, tmp_path, capsys):
    settings = config.model_copy(update={"batch_size": 64})
    run = distill(spec, [tiny], TrainingData(images_dir, texts_file), tmp_path / "run", config=settings)
    assert "only 40 images (batch size 64): every step uses all of them" in capsys.readouterr().err
    assert run.document.figures.steps == settings.epochs


def test_two_runs_into_one_folder_at_once(spec, tiny, images_dir, texts_file, config, tmp_path):
    def meanwhile(*_):
        with pytest.raises(EdgeclipError, match="in use by process"):
            distill(spec, [tiny], TrainingData(images_dir, texts_file), tmp_path / "run", config=config)

    given = (spec, [tiny], TrainingData(images_dir, texts_file), tmp_path / "run")
    distill(*given, config=config, rehearsal=meanwhile)


def test_a_batch_that_processes_cannot_share(monkeypatch):
    from types import SimpleNamespace

    from edgeclip.distillation import batches

    monkeypatch.setattr(batches, "processes", lambda: SimpleNamespace(num_processes=3, process_index=2))
    assert batches.share(12) == slice(8, 12)
    with pytest.raises(EdgeclipError, match="a batch of 10 cannot be shared by 3 processes"):
        batches.share(10)


@pytest.mark.parametrize("text_tower", ["teacher", "student"])
@pytest.mark.slow
def test_a_batch_in_parts_teaches_the_same(spec, tiny, images_dir, texts_file, config, tmp_path, text_tower):
    config = config.model_copy(update={"text_tower": text_tower})
    weights = []
    for micro in (None, 3):
        settings = DistillConfig.model_validate({**config.model_dump(), "micro_batch": micro})
        made = distill(spec, [tiny], TrainingData(images_dir, texts_file), tmp_path / str(micro), config=settings)
        weights.append(made.encoder().model.state_dict())
    for name, value in weights[0].items():
        other = weights[1][name].clone()
        if name.endswith("attn.in_proj_bias"):  # see the test of two processes
            other.view(3, -1)[1] = value.view(3, -1)[1]
        assert torch.allclose(value, other, atol=1e-4), name


def test_what_a_run_refuses(run, spec, tiny, images_dir, texts_file, config, tmp_path):
    inputs = (spec, [tiny], TrainingData(images_dir, texts_file))
    with pytest.raises(EdgeclipError, match="edgeclip distill --resume"):
        distill(*inputs, run.path, config=config)
    other = config.model_copy(update={"lr": 0.5})
    with pytest.raises(EdgeclipError, match=r"another config\.lr"):
        distill(*inputs, run.path, config=other, resume=True)
    (tmp_path / "thesis").touch()
    with pytest.raises(EdgeclipError, match="is not a run"):
        distill(*inputs, tmp_path, config=config)


@pytest.mark.parametrize("changed", ["images", "sentences"])
def test_a_resume_with_other_inputs_is_refused(
    changed, spec, tiny, images_dir, texts_file, config, tmp_path, monkeypatch
):
    shutil.copytree(images_dir, tmp_path / "images")
    shutil.copy(texts_file, tmp_path / "texts.txt")
    given = (spec, [tiny], TrainingData(tmp_path / "images", tmp_path / "texts.txt"), tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            distill(*given, config=config)
    if changed == "images":
        shutil.copy(images_dir / "00.png", tmp_path / "images/another.png")
    else:
        (tmp_path / "texts.txt").write_text(texts_file.read_text() + "\nanother")
    with pytest.raises(EdgeclipError, match=f"^{changed} changed since .*run started"):
        distill(*given, config=config, resume=True)


def test_a_text_longer_than_the_context_is_cut(spec, tiny, images_dir, config, tmp_path):
    (tmp_path / "long.txt").write_text("word " * 500 + "".join(f"\nshort {number}" for number in range(15)))
    run = distill(spec, [tiny], TrainingData(images_dir, tmp_path / "long.txt"), tmp_path / "run", config=config)
    assert run.document.figures.sentences == 16


def test_a_student_that_was_altered_is_refused(run, tmp_path):
    shutil.copytree(run.path, tmp_path / "run")
    weights = tmp_path / "run/student/open_clip_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(FormatError, match="was changed after training"):
        Run.open(tmp_path / "run").encoder()


def test_too_few_to_learn_from(spec, tiny, images_dir, texts_file, config, tmp_path):
    (tmp_path / "few.txt").write_text("a cat\na dog\na cat\n")
    with pytest.raises(EdgeclipError, match="too few sentences: 2, and training needs"):
        distill(spec, [tiny], TrainingData(images_dir, tmp_path / "few.txt"), tmp_path / "run", config=config)
    (tmp_path / "few").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "few/a.png")
    with pytest.raises(EdgeclipError, match="too few images: 1, and training needs"):
        distill(spec, [tiny], TrainingData(tmp_path / "few", texts_file), tmp_path / "run2", config=config)


def test_a_loss_that_is_not_finite_stops_with_step_and_term(spec, tiny, images_dir, texts_file, config, tmp_path):
    wild = config.model_copy(update={"lr": 1e30, "grad_clip": 1e30, "warmup_epochs": 0.0})
    with pytest.raises(EdgeclipError, match=r"step \d+: the \w+ was not finite 10 times in a row"):
        distill(spec, [tiny], TrainingData(images_dir, texts_file), tmp_path / "run", config=wild)


def test_the_best_student_by_the_judge_is_kept(spec, tiny, images_dir, texts_file, config, tmp_path):
    told, seen = iter([0.2, 0.9, 0.3]), []

    def judge(student):
        seen.append(student.encode_image([Image.new("RGB", (32, 32), "teal")]))
        return next(told)

    settings = config.model_copy(update={"judge_epochs": 1.0})
    run = distill(
        spec,
        [tiny],
        TrainingData(images_dir, texts_file),
        tmp_path / "run",
        config=settings,
        validation=Validation("d", judge),
    )
    assert run.document.figures.best_top1 == 0.9
    assert np.allclose(run.encoder().encode_image([Image.new("RGB", (32, 32), "teal")]), seen[1], atol=1e-6)
    assert [row["top1"] for row in rows(run.path / "metrics.jsonl") if "top1" in row] == [0.2, 0.9, 0.3]


@pytest.mark.parametrize("precision", ["bf16"])
def test_a_run_in_half_precision(spec, tiny, images_dir, texts_file, config, tmp_path, precision):
    settings = config.model_copy(update={"mixed_precision": precision})
    run = distill(spec, [tiny], TrainingData(images_dir, texts_file), tmp_path / "run", config=settings)
    logged = rows(run.path / "metrics.jsonl")
    assert logged[-1]["loss"] < logged[0]["loss"]
