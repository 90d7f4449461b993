"""Distilling: a tiny run end to end, interrupted and resumed, and what it refuses."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from edgeclip.distill.config import DistillConfig
from edgeclip.distill.data import Images, Shuffle, Views, find_images, read_sentences
from edgeclip.distill.pipeline import distill
from edgeclip.distill.run import Run
from edgeclip.distill.store import feature_store
from edgeclip.distill.trainer import learning_rate
from edgeclip.errors import EdgeclipError, FormatError
from edgeclip.runtime.manifest import Preprocess

CONFIG = DistillConfig(epochs=3, batch_size=10, views=2, ema=0.9, checkpoint_seconds=0)
SQUARE = Preprocess(size=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


@pytest.fixture(scope="module")
def run(spec, teacher, images_dir, texts_file, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    return distill(spec, teacher, images_dir, texts_file, out, teacher_name="tiny", config=CONFIG)


def test_a_run_ends_with_a_student_that_learned(run):
    assert Run.open(run.path).document.status == "finished"
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 11
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert rows[0]["loss"] == pytest.approx(rows[0]["vl"] + rows[0]["pvl"], rel=1e-5)


def test_the_student_loads_in_stock_open_clip_with_equal_outputs(run, teacher):
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{run.student_dir}")
    image, student = Image.new("RGB", (40, 50), "teal"), run.encoder()
    with torch.no_grad():
        theirs = model.eval().encode_image(transform(image)[None], normalize=True).numpy()
    assert np.allclose(student.encode_image([image]), theirs, atol=1e-5)
    assert np.allclose(student.encode_text(["a cat"]), teacher.encode_text(["a cat"]), atol=1e-6)


RUNNER = """
import sys
from pathlib import Path
from edgeclip import load
from edgeclip.distill.config import DistillConfig
from edgeclip.distill.pipeline import distill
from edgeclip.files import read_document
from edgeclip.student.spec import StudentSpec
spec, teacher, images, texts, out, config = sys.argv[1:]
distill(read_document(Path(spec), StudentSpec), load("local-dir:" + teacher), Path(images), Path(texts), Path(out),
        teacher_name="tiny", config=read_document(Path(config), DistillConfig), resume=Path(out, "run.json").exists())
"""


def test_killed_and_resumed_is_equal_to_the_bit(spec, teacher_dir, images_dir, texts_file, tmp_path):
    config = CONFIG.model_copy(update={"epochs": 100})
    spec.save(tmp_path / "spec.json")
    config.save(tmp_path / "config.toml")

    def command(out):
        inputs = [tmp_path / "spec.json", teacher_dir, images_dir, texts_file, out, tmp_path / "config.toml"]
        return [sys.executable, "-c", RUNNER, *map(str, inputs)]

    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command(tmp_path / "whole"), check=True, env=environment, capture_output=True)
    process = subprocess.Popen(command(tmp_path / "cut"), env=environment, stderr=subprocess.DEVNULL)
    checkpoint = tmp_path / "cut/checkpoint.safetensors"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert Run.open(tmp_path / "cut").document.status == "running", "it was not cut short: the test shows nothing"
    subprocess.run(command(tmp_path / "cut"), check=True, env=environment, capture_output=True)
    whole, cut = (load_file(tmp_path / name / "student/open_clip_model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_what_a_run_refuses(run, spec, teacher, images_dir, texts_file, tmp_path):
    inputs = (spec, teacher, images_dir, texts_file)
    with pytest.raises(EdgeclipError, match="add --resume"):
        distill(*inputs, run.path, teacher_name="tiny", config=CONFIG)
    other = CONFIG.model_copy(update={"lr": 0.5})
    with pytest.raises(EdgeclipError, match=r"another config\.lr"):
        distill(*inputs, run.path, teacher_name="tiny", config=other, resume=True)
    (tmp_path / "thesis").touch()
    with pytest.raises(EdgeclipError, match="is no run"):
        distill(*inputs, tmp_path, teacher_name="tiny", config=CONFIG)


def test_images_that_cannot_be_read(images_dir, tmp_path):
    for file in images_dir.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 nothing")
    images = Images(tmp_path, 32, SQUARE)
    assert images.broken == ["broken.jpg"]
    assert len(images) == 40
    assert images[[0, 39]].shape == (2, 3, 32, 32)
    for number in range(5):
        (tmp_path / f"empty{number}.png").touch()
    with pytest.raises(EdgeclipError, match="6 of 46 images cannot be read"):
        Images(tmp_path, 32, SQUARE)


def test_folders_and_sentences_that_are_not_there(tmp_path):
    with pytest.raises(EdgeclipError, match="no such folder"):
        find_images(tmp_path / "absent")
    with pytest.raises(EdgeclipError, match="no images"):
        find_images(tmp_path)
    with pytest.raises(EdgeclipError, match="no such file"):
        read_sentences(tmp_path / "absent.txt")
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(EdgeclipError, match="no sentences"):
        read_sentences(tmp_path / "empty.txt")
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n{"words": "two"}\n')
    with pytest.raises(EdgeclipError, match=r"a\.jsonl:2"):
        read_sentences(tmp_path / "a.jsonl")


def test_sentences_are_distinct_and_in_order(tmp_path):
    (tmp_path / "a.txt").write_text("b\na\n\nb\n")
    assert read_sentences(tmp_path / "a.txt") == ["b", "a"]
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n\n{"text": "two"}\n')
    assert read_sentences(tmp_path / "a.jsonl") == ["one", "two"]


def test_views_can_be_replayed_and_differ():
    first, again = Views(CONFIG.augment, 7, 5), Views(CONFIG.augment, 7, 5)
    assert torch.equal(first.table(3), again.table(3))
    assert not torch.equal(first.table(3), first.table(4))
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    assert first.apply(images, [1, 4], 0).shape == images.shape


def test_every_image_is_seen_once_a_pass():
    shuffle = Shuffle(10, 5, seed=0)
    assert sorted(shuffle[0] + shuffle[1]) == list(range(10))
    assert shuffle[0] == Shuffle(10, 5, seed=0)[0]
    assert sorted(Shuffle(3, 50, seed=0)[0]) == [0, 1, 2]  # a batch larger than the data is the data


def test_a_store_is_reused_refused_or_mended(tmp_path):
    calls = []

    def embed(rows):
        calls.append(list(rows))
        return np.float32([[row, 1] for row in rows])

    def store(mark):
        return feature_store(tmp_path, "test", rows=5, dim=2, fingerprint={"teacher": mark}, embed=embed)

    assert torch.equal(store("a"), store("a"))
    assert len(calls) == 1
    with pytest.raises(FormatError, match="other teacher"):
        store("b")
    shard = tmp_path / "part-00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(FormatError, match="missing or altered"):
        store("a")


def test_a_teacher_that_gives_nan_is_refused(tmp_path):
    with pytest.raises(FormatError, match="NaN"):
        feature_store(tmp_path, "x", rows=1, dim=1, fingerprint={}, embed=lambda rows: np.float32([[np.nan]]))


def test_the_learning_rate_warms_up_and_falls():
    config = DistillConfig(epochs=10, lr=1.0, min_lr=0.1, warmup_epochs=2)
    rates = [learning_rate(step, config, 10) for step in range(100)]
    assert rates[0] < rates[10] < rates[19] <= 1.0
    assert rates[20] == 1.0
    assert rates[99] == pytest.approx(0.1, abs=0.01)


def test_a_config_reports_every_fault(tmp_path):
    from edgeclip.files import read_document

    (tmp_path / "c.toml").write_text(
        'format = "edgeclip-distill"\nversion = 1\nepochs = 0\nlr = -1\n[weights]\nvl = 0.0\npvl = 0.0\n'
    )
    with pytest.raises(FormatError, match="3 fault"):
        read_document(tmp_path / "c.toml", DistillConfig)
