"""The training loop on two small matrices: every promise of a step, and of the checkpoint after it."""

import copy
import json
import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import nn

from edgeclip.base.errors import EdgeclipError
from edgeclip.distillation.batches import Batch, prefetch
from edgeclip.distillation.config import DistillConfig, Weights
from edgeclip.distillation.objectives import Embeddings
from edgeclip.distillation.optimizer import ema_update, learning_rate, parameter_groups
from edgeclip.distillation.run import Run
from edgeclip.distillation.student import Towers
from edgeclip.distillation.trainer import Trainer

from .training import ROWS, Text, Visual, batch_of, equal, trainer, weights


def test_the_learning_rate_warms_up_and_falls():
    config = DistillConfig(epochs=10, lr=1.0, min_lr=0.1, warmup_epochs=2)
    rates = [learning_rate(step, config, 10) for step in range(100)]
    assert rates[:20] == pytest.approx([4e-6 + (1 - 4e-6) * step / 20 for step in range(20)])
    assert rates[20] == 1.0
    assert rates[60] == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi * 40 / 80)) / 2)
    assert rates[99] == pytest.approx(0.1, abs=1e-3)
    short = DistillConfig(epochs=2, lr=1.0, min_lr=0.1, warmup_epochs=4)
    assert [learning_rate(step, short, 2) for step in range(4)] == pytest.approx([4e-6, 0.500002, 1.0, 0.55])


def test_the_optimizer_takes_the_rate_of_the_step(tmp_path):
    one = trainer(tmp_path, lr=0.5, warmup_epochs=1, epochs=2)
    for step in range(3):
        one.train_step(batch_of(step), step)
        expected = learning_rate(step, one.config, 2)
        assert [group["lr"] for group in one.optimizer.param_groups] == [expected] * 2
    assert one.steps == 4


def test_weight_decay_is_for_matrices_alone():
    towers = Towers(Visual(), Text())
    decayed, rest = parameter_groups(towers, 0.05)
    names = {id(parameter): name for name, parameter in towers.named_parameters()}
    assert [names[id(p)] for p in decayed["params"]] == ["visual.head.weight", "text.table.weight"]
    assert {names[id(p)] for p in rest["params"]} == {
        "visual.positional_embedding",
        "visual.head.bias",
        "visual.norm.weight",
        "visual.norm.bias",
    }
    assert (decayed["weight_decay"], rest["weight_decay"]) == (0.05, 0.0)


def test_the_settings_reach_the_optimizer(tmp_path):
    one = trainer(tmp_path, weight_decay=0.2, betas=(0.8, 0.9))
    assert [group["weight_decay"] for group in one.optimizer.param_groups] == [0.2, 0.0]
    assert {group["betas"] for group in one.optimizer.param_groups} == {(0.8, 0.9)}


@pytest.mark.parametrize("texts", [False, True])
@pytest.mark.parametrize("micro", [None, 4])
def test_gradients_are_clipped_to_the_norm(texts, micro, tmp_path):
    one = trainer(tmp_path, grad_clip=1e-3, texts=texts, micro_batch=micro)
    one.train_step(batch_of(0, texts), 0)
    norm = torch.cat([p.grad.flatten() for p in one.towers.parameters()]).norm().item()
    assert norm == pytest.approx(1e-3, rel=1e-3), "what is large is scaled down to just the limit"


def test_a_step_is_the_optimizers_on_the_sum_of_the_terms(tmp_path):
    one = trainer(tmp_path, grad_clip=1e6, weights=Weights(vl=0.5, embed=2.0))
    losses = one.train_step(batch_of(0), 0)
    assert set(losses) == {"vl", "embed"}
    copied = trainer(tmp_path, grad_clip=1e6).towers
    before, batch = weights(copied), batch_of(0)
    images, _ = copied(batch.pixels, None)
    (theirs,) = batch.teachers
    ours, true = 100 * images @ theirs.texts.T, 100 * theirs.images @ theirs.texts.T

    def kl(target, own):
        return F.kl_div(own.log_softmax(1), target.log_softmax(1), log_target=True, reduction="batchmean")

    loss = 0.5 * (kl(true, ours) + kl(true.T, ours.T)) + 2 * (images - theirs.images).square().sum(1).mean()
    assert sum(losses.values()) == pytest.approx(loss.item(), rel=1e-5)
    loss.backward()
    for (name, own), other in zip(one.towers.named_parameters(), copied.parameters(), strict=True):
        assert torch.allclose(own.grad, other.grad, rtol=1e-4, atol=1e-6), name
        assert not torch.equal(own, before[name]), f"{name} was not moved"


def test_gradients_of_one_step_are_not_added_to_the_next(tmp_path):
    one = trainer(tmp_path, lr=1e-12, min_lr=0, weight_decay=0.0)
    one.train_step(batch_of(0), 0)
    first = [p.grad.clone() for p in one.towers.parameters()]
    one.train_step(batch_of(0), 1)
    again = [p.grad for p in one.towers.parameters()]
    assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-6) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize(("step", "keep"), [(0, 0.1), (8, 0.5), (10_000, 0.9)])
def test_the_average_moves_towards_the_model(step, keep):
    average, model = Visual(), Visual()
    before, now = weights(average), weights(model)
    model.norm.num_batches_tracked.fill_(7)
    ema_update(average, model, 0.9, step)
    for name, value in average.state_dict().items():
        if value.is_floating_point():
            assert torch.allclose(value, keep * before[name] + (1 - keep) * now[name], atol=1e-6), name
    assert average.norm.num_batches_tracked == 7


def test_the_average_becomes_the_student(tmp_path):
    one = trainer(tmp_path, ema=0.9)
    start = weights(one.towers)
    one.train_step(batch_of(0), 0)
    moved, average = weights(one.towers), weights(one.student)
    name = "visual.head.weight"
    assert not torch.equal(average[name], moved[name])
    assert torch.allclose(average[name], 0.1 * start[name] + 0.9 * moved[name], atol=1e-6)
    assert not any(p.requires_grad for p in one.student.parameters())
    plain = trainer(tmp_path)
    assert plain.student is plain.accelerator.unwrap_model(plain.towers)


@pytest.mark.parametrize("texts", [False, True])
def test_a_batch_in_parts_gives_the_gradient_of_the_whole(texts, tmp_path):
    whole, parts = (trainer(tmp_path, texts=texts, grad_clip=1e6, micro_batch=micro) for micro in (None, 2))
    for one in (whole, parts):
        one.towers.visual.norm.eval()  # else the statistics of a part are another's
        losses = one.train_step(batch_of(0, texts), 0)
        assert all(value > 0 for value in losses.values())
    for (name, own), other in zip(whole.towers.named_parameters(), parts.towers.parameters(), strict=True):
        assert torch.allclose(own.grad, other.grad, rtol=1e-3, atol=1e-5), name


@pytest.mark.parametrize(("pixels", "tokens", "micro", "parts"), [(6, None, 4, 2), (6, 9, 3, 3), (9, 6, 3, 3)])
def test_parts_are_no_larger_than_asked(pixels, tokens, micro, parts):
    batch = Batch(torch.zeros(pixels, 1), None if tokens is None else torch.zeros(tokens, 1), [])
    found = list(Trainer._parts(batch, micro))
    assert len(found) == parts
    assert all(len(one) <= micro and (other is None or len(other) <= micro) for one, other in found)
    assert sum(len(one) for one, _ in found) == pixels
    assert tokens is None or sum(len(other) for _, other in found) == tokens


def infinite(batch):
    batch.teachers[0].images[0, 0] = math.inf
    return batch


def test_a_step_that_is_not_finite_is_not_taken(tmp_path, capsys):
    one = trainer(tmp_path, weights=Weights(vl=1, embed=1), ema=0.5)
    one.towers.train()
    one.train_step(batch_of(0), 0)
    before, average = weights(one.towers), weights(one.student)
    one.train_step(infinite(batch_of(1)), 1)
    assert "step 1: vl is NaN or infinite, step skipped" in capsys.readouterr().err
    assert equal(weights(one.towers), before), "a batch norm's means and variances are weights, too"
    assert equal(weights(one.student), average)
    one.train_step(batch_of(2), 2)
    assert not equal(weights(one.towers), before), "the next one is taken"


def test_a_gradient_that_is_not_finite_is_told_from_a_loss(tmp_path, capsys, monkeypatch):
    one = trainer(tmp_path)
    monkeypatch.setattr(one.accelerator, "clip_grad_norm_", lambda *_: torch.tensor(math.inf))
    before = weights(one.towers)
    one.train_step(batch_of(0), 0)
    assert "step 0: gradient is NaN or infinite" in capsys.readouterr().err
    assert equal(weights(one.towers), before)


def test_ten_in_a_row_end_the_training_with_the_last_good_checkpoint(tmp_path):
    one = trainer(tmp_path, epochs=20)
    one.train_step(batch_of(0), 0)
    one.step = 1
    one.save()
    saved = (tmp_path / "checkpoint.safetensors").read_bytes()
    with pytest.raises(EdgeclipError, match=r"step 10: the vl was not finite 10 times in a row: start again"):
        one.train(lambda step: infinite(batch_of(step)))
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == saved
    one._metrics.flush()
    told = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in told if "skipped" in row] == list(range(1, 11))


def test_a_weight_that_is_not_finite_is_never_saved(tmp_path):
    one = trainer(tmp_path)
    one.save()
    saved = (tmp_path / "checkpoint.safetensors").read_bytes()
    with torch.no_grad():
        one.towers.visual.head.weight[0, 0] = math.nan
    with pytest.raises(EdgeclipError, match="a weight is not finite"):
        one.save()
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == saved


def test_what_towers_say_of_weight_decay_is_heard():
    import timm

    tower = timm.create_model("tiny_vit_5m_224", num_classes=8)
    decayed, rest = parameter_groups(torch.nn.ModuleDict({"visual": tower}), 0.1)
    names = {id(parameter): name for name, parameter in tower.named_parameters()}
    left = {names[id(parameter)] for parameter in rest["params"]}
    assert {name for name in names.values() if "attention_biases" in name} <= left
    assert decayed["weight_decay"] == 0.1
    assert all(parameter.ndim > 1 for parameter in decayed["params"])


def test_a_whole_training_is_every_step_once(tmp_path):
    one, seen = trainer(tmp_path, epochs=6, judge=None), []

    def told(step):
        seen.append(step)
        return batch_of(step)

    one.towers.eval()
    one.train(told)
    assert seen == list(range(12))
    assert one.step == 12
    assert one.towers.training
    logged = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in logged] == [0, 10, 11]
    assert [row["epoch"] for row in logged] == [0.0, 5.0, 5.5]
    with_notes = load_file(tmp_path / "checkpoint.safetensors")
    assert torch.equal(with_notes["towers.visual.head.weight"], weights(one.towers)["visual.head.weight"])


def test_batches_come_in_order_each_made_once():
    made = []
    found = [(batch, step) for batch, step in prefetch(lambda step: made.append(step) or copy.copy(step), 2, 6)]
    assert found == [(2, 2), (3, 3), (4, 4), (5, 5)]
    assert made == [2, 3, 4, 5]
    assert list(prefetch(made.append, 4, 4)) == []
    assert made == [2, 3, 4, 5]


def test_parts_go_through_the_towers_one_by_one(tmp_path):
    seen = []

    def sizes(texts, micro):
        one = trainer(tmp_path, texts=texts, micro_batch=micro)
        seen.clear()
        one.towers.visual.register_forward_pre_hook(lambda module, given: seen.append(len(given[0])))
        one.train_step(batch_of(0, texts), 0)
        return list(seen)

    assert sizes(False, None) == sizes(False, ROWS) == sizes(True, ROWS) == [ROWS]
    assert sizes(False, 2) == [2, 2, 2] * 2, "once without a graph, once with"
    assert sizes(True, 4) == [3, 3] * 2


def test_soft_takes_the_scale_of_the_first_teacher(tmp_path):
    given = {"weights": Weights(soft=1.0)}
    one = trainer(tmp_path, **given)
    losses = one.train_step(batch_of(0), 0)
    images, _ = trainer(tmp_path, **given).towers(batch_of(0).pixels, None)
    (theirs,) = batch_of(0).teachers
    ours, true = 10 * images @ theirs.texts.T, 10 * theirs.images @ theirs.texts.T
    expected = (F.cross_entropy(ours, true.softmax(1)) + F.cross_entropy(ours.T, true.T.softmax(1))) / 2
    assert losses["soft"] == pytest.approx(expected.item(), rel=1e-5)


def test_positions_and_biases_of_any_shape_are_not_decayed():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention_bias = nn.Parameter(torch.zeros(2, 2))
            self.pos_embed = nn.Parameter(torch.zeros(1, 2, 2))
            self.class_embedding = nn.Parameter(torch.zeros(1, 2))
            self.weight = nn.Parameter(torch.zeros(2, 2))

    odd = Odd()
    decayed, rest = parameter_groups(odd, 0.1)
    assert [p is odd.weight for p in decayed["params"]] == [True]
    assert len(rest["params"]) == 3


def test_what_is_tracked_is_told_step_by_step(tmp_path, monkeypatch):
    one, told = trainer(tmp_path, epochs=6, judge=lambda student: 0.25, judge_epochs=3), []
    monkeypatch.setattr(one.accelerator, "log", lambda values, step: told.append((step, values)))
    one.train(batch_of)
    assert [step for step, _ in told] == [0, 5, 10, 11, 11]
    assert told[1] == (5, {"top1": 0.25})
    assert set(told[0][1]) == {"epoch", "lr", "loss", "vl", "pvl"}


def test_a_tracker_is_opened_by_name(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(Accelerator, "init_trackers", lambda self, name, config: opened.append((name, config)))
    run = Run(tmp_path, SimpleNamespace(spec=SimpleNamespace(name="tiny")))
    config = DistillConfig(epochs=1, tracker="tensorboard")
    one = Trainer(Towers(Visual(), None), config, run, 2, logit_scale=10.0)
    assert opened == [("edgeclip", {"student": "tiny"})]
    assert str(one.accelerator.project_dir) == str(tmp_path)
    trainer(tmp_path)
    assert len(opened) == 1


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_the_precision_asked_for_is_that_of_the_towers(precision, tmp_path):
    one, seen = trainer(tmp_path, mixed_precision=precision), []
    one.towers.visual.head.register_forward_hook(lambda module, given, out: seen.append(out.dtype))
    one.train_step(batch_of(0), 0)
    assert seen == [torch.bfloat16 if precision == "bf16" else torch.float32]
    assert one.accelerator.device.type == "cpu"


class OneOfTwo:
    """An accelerator that is told it is one of two processes, whose other one sees the same."""

    num_processes, process_index, is_main_process, scaler = 2, 0, True, None

    def __init__(self, own):
        self._own = own

    def __getattr__(self, name):
        return getattr(self._own, name)

    def gather(self, rows):
        return torch.cat([rows, rows])


@pytest.mark.parametrize("micro", [None, 4])
@pytest.mark.parametrize("texts", [False, True])
def test_a_process_sends_the_gradient_of_the_whole_batchs_loss(micro, texts, tmp_path):
    """DDP takes the mean over processes where the sum is wanted: each must send as many times its share.

    Gradients are compared, before they are clipped: weights after Adam know no scale.
    """
    one = trainer(tmp_path, texts=texts, micro_batch=micro, grad_clip=1e6)
    one.towers.eval()  # the batch norm of a part is not that of the whole
    batch = batch_of(0, texts)
    doubled = Batch(
        torch.cat([batch.pixels] * 2),
        torch.cat([batch.tokens] * 2) if texts else None,
        [Embeddings(torch.cat([both.images] * 2), torch.cat([both.texts] * 2)) for both in batch.teachers],
    )
    images, read = one.towers(doubled.pixels, doubled.tokens)
    half = ROWS  # the other process's share carries no gradient here
    images = torch.cat([images[:half], images[half:].detach()])
    read = torch.cat([read[:half], read[half:].detach()]) if texts else None
    _, total = one._loss(images, read, doubled, 0)
    parameters = list(one.towers.parameters())
    expected = [2 * grad for grad in torch.autograd.grad(total, parameters)]
    shared = Batch(batch.pixels, batch.tokens, doubled.teachers)
    one.accelerator = OneOfTwo(one.accelerator)
    one.optimizer.zero_grad()
    one._forward_backward(shared, 0) if micro is None else one._in_parts(shared, 0, micro)
    for parameter, grad in zip(parameters, expected, strict=True):
        assert torch.allclose(parameter.grad, grad, atol=1e-6, rtol=1e-4)
    assert any(grad.abs().max() > 1e-3 for grad in expected), "of nothing twice is nothing"
