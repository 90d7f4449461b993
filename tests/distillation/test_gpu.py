"""On a GPU: every precision learns, a resume goes on where it stopped, and what is learnt is what a CPU learns."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from edgeclip.data.processes import processes
from edgeclip.data.training import TrainingData
from edgeclip.distillation.pipeline import distill

from .training import batch_of, equal, trainer, weights

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"),
]


@pytest.mark.parametrize("settings", [{}, {"micro_batch": 4}, {"text_tower": "student"}, {"compile": True}])
@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
def test_a_run_learns_in_every_precision(precision, settings, spec, tiny, images_dir, texts_file, config, tmp_path):
    assert processes().device.type == "cuda"
    asked = config.model_copy(update={"mixed_precision": precision, "epochs": 6, "warmup_epochs": 1.0, **settings})
    run = distill(spec, [tiny], TrainingData(images_dir, texts_file), tmp_path / "run", config=asked)
    told = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in told if "loss" in row]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    embeds = run.encoder().encode_image([Image.new("RGB", (40, 32), "teal")])
    assert np.allclose(np.linalg.norm(embeds, axis=1), 1, atol=1e-5)


def test_a_gpu_learns_what_a_cpu_learns(spec, tiny, images_dir, texts_file, config, tmp_path, monkeypatch):
    found = []
    for cpu in (False, True):
        if cpu:
            monkeypatch.setattr("torch.accelerator.is_available", lambda: False)
            processes()._reset_state()
        run = distill(spec, [tiny], TrainingData(images_dir, texts_file), tmp_path / str(cpu), config=config)
        assert processes().device.type == ("cpu" if cpu else "cuda")
        found.append([json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()])
    processes()._reset_state()
    for own, other in zip(*found, strict=True):
        assert own["step"] == other["step"]
        assert abs(own["loss"] - other["loss"]) < 1e-2 * abs(other["loss"])


@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
def test_a_resume_on_a_gpu_takes_the_same_next_steps(precision, tmp_path):
    settings = {"mixed_precision": precision, "ema": 0.5, "epochs": 4, "lr": 0.01}
    one = trainer(tmp_path, **settings)
    one.towers.train()
    for step in range(3):
        one.train_step(batch_of(step), step)
        one.step = step + 1
    one.save()
    drawn = torch.rand(3, device="cuda")
    two = trainer(tmp_path, **settings)
    two.load()
    assert torch.equal(torch.rand(3, device="cuda"), drawn), "the GPU's generator goes on too"
    if precision == "fp16":
        assert two.accelerator.scaler.state_dict() == one.accelerator.scaler.state_dict()
    for each in (one, two):
        each.towers.train()
        for step in (3, 4):
            each.train_step(batch_of(step), step)
    assert equal(weights(two.towers), weights(one.towers))
    assert equal(weights(two.student), weights(one.student))


def test_fp16_leaves_out_the_steps_that_overflow_and_goes_on(tmp_path):
    one = trainer(tmp_path, mixed_precision="fp16", lr=0.01)
    one.towers.train()
    for step in range(9):  # until the scaler has found its scale
        one.train_step(batch_of(step), step)
    assert one._skipped == 0
    before = weights(one.towers)
    one.accelerator.scaler.update(2.0**120)  # no gradient survives this
    one.train_step(batch_of(9), 9)
    assert one._skipped == 1
    assert equal(weights(one.towers), before)
    one.accelerator.scaler.update(2.0**8)
    one.train_step(batch_of(10), 10)
    assert one._skipped == 0
    assert not equal(weights(one.towers), before)
