"""Checkpoints: the whole state, written when due, resumed to the same next step; and the best student so far."""

import errno
import json
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from edgeclip.base.errors import FormatError
from edgeclip.distillation import checkpoint
from edgeclip.distillation.optimizer import learning_rate

from .training import batch_of, equal, trainer, weights


def test_a_checkpoint_is_the_state_and_the_next_step_is_the_same(tmp_path):
    one = trainer(tmp_path / "a", ema=0.5, epochs=4, lr=0.1)
    (tmp_path / "a").mkdir(exist_ok=True)
    one.towers.train()
    for step in range(3):
        one.train_step(batch_of(step), step)
        one.step = step + 1
    one._log(2, {"vl": 1.5, "pvl": 0.5})
    one.best_top1 = 0.25
    one.save()
    two = trainer(tmp_path / "a", ema=0.5, epochs=4, lr=0.1)
    torch.rand(5)
    two.load()
    assert (two.step, two.best_top1) == (3, 0.25)
    assert equal(weights(two.towers), weights(one.towers))
    assert equal(weights(two.student), weights(one.student))
    for each in (one, two):
        each.towers.train()
        each.train_step(batch_of(3), 3)
    assert equal(weights(two.towers), weights(one.towers))
    (line,) = (tmp_path / "a/metrics.jsonl").read_text().splitlines()
    expected = {"step": 2, "epoch": 1.0, "loss": 2.0, "vl": 1.5, "pvl": 0.5}
    found = json.loads(line)
    assert found.pop("lr") == learning_rate(2, one.config, 2)
    assert found == expected


def test_the_random_state_is_resumed(tmp_path):
    one = trainer(tmp_path)
    one.save()
    drawn = torch.rand(3)
    two = trainer(tmp_path)
    two.load()
    assert torch.equal(torch.rand(3), drawn)


def flip(file):
    """One bit of a weight."""
    content = bytearray(file.read_bytes())
    content[-100] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    "spoil", [lambda file: file.write_bytes(file.read_bytes()[:-9]), lambda file: file.unlink(), flip]
)
def test_a_checkpoint_that_does_not_fit_is_refused(spoil, tmp_path):
    trainer(tmp_path).save()
    spoil(tmp_path / "checkpoint.safetensors")
    with pytest.raises(FormatError, match="damaged, and so is the one before it"):
        trainer(tmp_path).load()


def test_the_one_before_stands_in_for_a_damaged_one(tmp_path, capsys):
    one, kept = trainer(tmp_path), []
    for step in range(2):
        one.train_step(batch_of(step), step)
        one.step = step + 1
        one.save()
        kept.append(weights(one.towers))
    flip(tmp_path / "checkpoint.safetensors")
    two = trainer(tmp_path)
    two.load()
    told = capsys.readouterr().err.replace("\n", "")
    assert "checkpoint.safetensors is damaged" in told
    assert "going on from the checkpoint before it, at step 1" in told
    assert two.step == 1
    assert equal(weights(two.towers), kept[0])


def test_a_full_disk_leaves_the_last_good_one(tmp_path, monkeypatch):
    one = trainer(tmp_path)
    one.save()
    saved = (tmp_path / "checkpoint.safetensors").read_bytes()

    def full(path, content):
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(checkpoint, "write_bytes", full)
    with pytest.raises(OSError, match="no space left"):
        one.save()
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == saved


FULL = """
import sys, torch
from pathlib import Path
from edgeclip.distillation.checkpoint import newest_checkpoint, write_checkpoint
file = Path(sys.argv[1]) / "checkpoint.safetensors"
write_checkpoint(file, {"weights": torch.ones(40_000)}, {"step": "1"})
try:
    write_checkpoint(file, {"weights": torch.zeros(40_000)}, {"step": "2"})
except Exception as error:
    print(type(error).__name__, error)
print(newest_checkpoint(file)[1]["step"], sorted(one.name for one in file.parent.iterdir()))
"""
OWN_DISK = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
MOUNT = 'mount -t tmpfs -o size=240k none "$0"'


def test_a_disk_that_fills_up_in_the_middle_of_a_checkpoint(tmp_path):
    if shutil.which("unshare") is None or subprocess.run([*OWN_DISK, MOUNT, str(tmp_path)], check=False).returncode:
        pytest.skip("no small disk can be mounted here")
    words = [*OWN_DISK, f'{MOUNT} && exec "$1" -c "$2" "$0"', str(tmp_path), sys.executable, FULL]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    assert told[0].startswith("EdgeclipError")
    assert "no space left on the disk" in told[0]
    assert told[1] == "1 ['checkpoint.safetensors']"


def test_a_resumed_training_does_what_is_left(tmp_path):
    seen = []
    one = trainer(tmp_path, epochs=6)
    one.step = 9
    one.train(lambda step: seen.append(step) or batch_of(step))
    assert seen == [9, 10, 11]


def test_checkpoints_are_written_as_often_as_asked(tmp_path, monkeypatch):
    one, saved = trainer(tmp_path, epochs=2, checkpoint_seconds=0), []
    monkeypatch.setattr(one, "save", lambda: saved.append(one.step))
    one.train(batch_of)
    assert saved == [1, 2, 3, 4, 4]
    rare, saved2 = trainer(tmp_path, epochs=2, checkpoint_seconds=1e6), []
    monkeypatch.setattr(rare, "save", lambda: saved2.append(rare.step))
    rare.train(batch_of)
    assert saved2 == [4]


def test_an_interruption_leaves_a_checkpoint(tmp_path):
    def stops(step):
        if step == 3:
            raise KeyboardInterrupt
        return batch_of(step)

    one = trainer(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        one.train(stops)
    two = trainer(tmp_path)
    two.load()
    assert two.step == one.step > 0


def test_the_best_is_judged_when_it_is_due_and_kept(tmp_path):
    answers, judged, kept = iter([0.2, 0.6, 0.4]), [], {}

    def judge(student):
        judged.append(weights(student))
        student.eval()
        return next(answers)

    one = trainer(tmp_path, judge=judge, judge_epochs=1)
    one.train(batch_of)
    assert len(judged) == 3, "after every epoch of two steps"
    kept = load_file(tmp_path / "best.safetensors")
    assert equal(kept, judged[1])
    assert one.best_top1 == 0.6
    assert one.towers.training
    logged = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(row["step"], row["top1"]) for row in logged if "top1" in row] == [(1, 0.2), (3, 0.6), (5, 0.4)]
    assert one._standing == ", best top-1 60.0%"
    assert trainer(tmp_path)._standing == ""


@pytest.mark.parametrize(("every", "due"), [(1, [2, 4, 6]), (0.5, [1, 2, 3, 4, 5, 6]), (2, [4, 6])])
def test_when_it_is_due(every, due, tmp_path):
    one = trainer(tmp_path, judge_epochs=every)
    found = []
    for step in range(1, one.steps + 1):
        one.step = step
        found += [step] if one._is_due() else []
    assert found == due


def test_of_equally_good_students_the_first_is_kept(tmp_path):
    one = trainer(tmp_path, judge=lambda student: 0.5, judge_epochs=1)
    one.train(batch_of)
    with safe_open(tmp_path / "best.safetensors", framework="pt") as file:
        assert file.metadata() == {"step": "2"}
