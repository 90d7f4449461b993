"""The training loop: one student, cached targets, exact to the bit when it is interrupted and resumed."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ..console import progress_bar
from ..errors import EdgeclipError, FormatError
from ..files import write_bytes, write_text
from .config import DistillConfig
from .losses import objective
from .run import Run

LOG_EVERY = 10  # steps


@dataclass
class Batch:
    """The step's inputs: the student's pixels, and the teacher's embeddings of the same views and of the sentences."""

    pixels: Tensor  # float32 [N, 3, S, S]
    images: Tensor  # float32 [N, D]
    texts: Tensor  # float32 [N, D]


class Trainer:
    """Trains an image tower. Every step is a function of the weights, the settings and its own number alone."""

    def __init__(self, tower: nn.Module, config: DistillConfig, run: Run, steps_per_epoch: int) -> None:
        self.config, self.run = config, run
        self.steps_per_epoch, self.steps = steps_per_epoch, steps_per_epoch * config.epochs
        self.accelerator = Accelerator(mixed_precision=config.precision)
        optimizer = torch.optim.AdamW(parameter_groups(tower, config.weight_decay), lr=config.lr, betas=config.betas)
        self.tower, self.optimizer = self.accelerator.prepare(tower, optimizer)
        self.average = copy.deepcopy(tower).requires_grad_(False) if config.ema else None
        self.step, self._saved = 0, time.monotonic()
        self._metrics: list[dict[str, float]] = []

    def train(self, batch_of: Callable[[int], Batch]) -> None:
        """Run the steps that are left. An interruption leaves a checkpoint behind and goes on upwards."""
        self.tower.train()
        try:
            with progress_bar("distil", self.steps, done=self.step) as bar:
                for batch, step in _ahead(batch_of, self.step, self.steps):
                    losses = self._take(batch, step)
                    self.step = step + 1
                    bar.advance()
                    if step % LOG_EVERY == 0 or self.step == self.steps:
                        self._log(step, losses)
                        bar.note(f"loss {sum(losses.values()):.4f}")
                    if time.monotonic() - self._saved > self.config.checkpoint_seconds:
                        self.save()
        except KeyboardInterrupt:
            self.save()
            raise
        self.save()

    def _take(self, batch: Batch, step: int) -> dict[str, float]:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.config, self.steps_per_epoch)
        batch = Batch(*(part.to(self.accelerator.device) for part in vars(batch).values()))
        with self.accelerator.autocast():
            embeds = torch.nn.functional.normalize(self.tower(batch.pixels).float(), dim=-1)
        terms = objective(embeds, batch.images, batch.texts, self.config.weights.model_dump())
        losses = {name: float(value.detach()) for name, value in terms.items()}
        for name, value in losses.items():
            if not math.isfinite(value):
                raise EdgeclipError(f"step {step}: the term {name!r} is {value}: a lower lr may help")
        self.optimizer.zero_grad()
        self.accelerator.backward(torch.stack(list(terms.values())).sum())
        self.accelerator.clip_grad_norm_(self.tower.parameters(), self.config.grad_clip)
        self.optimizer.step()
        if self.average is not None:
            follow(self.average, self.accelerator.unwrap_model(self.tower), self.config.ema, step)
        return losses

    @property
    def student(self) -> nn.Module:
        """The tower that becomes the student: the averaged one where there is one."""
        return self.average if self.average is not None else self.accelerator.unwrap_model(self.tower)

    def _log(self, step: int, losses: dict[str, float]) -> None:
        rate = learning_rate(step, self.config, self.steps_per_epoch)
        epoch = step / self.steps_per_epoch
        self._metrics.append(
            {"step": step, "epoch": round(epoch, 3), "lr": rate, "loss": sum(losses.values()), **losses}
        )

    def save(self) -> None:
        """Write the checkpoint, then the metrics: both atomically, so a kill at any point leaves a pair that fits."""
        tower = self.accelerator.unwrap_model(self.tower)
        tensors = {f"tower.{name}": value for name, value in tower.state_dict().items()}
        if self.average is not None:
            tensors |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        for row, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{row}.{name}": torch.as_tensor(value) for name, value in state.items()}
        tensors["rng"] = torch.get_rng_state()
        notes = {"step": str(self.step), "metrics": json.dumps(self._metrics)}
        tensors = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
        write_bytes(self.run.checkpoint, save(tensors, metadata=notes))
        lines = "".join(json.dumps(row) + "\n" for row in self._metrics)
        write_text(self.run.path / "metrics.jsonl", lines)
        self._saved = time.monotonic()

    def load(self) -> None:
        """Continue from the run's checkpoint.

        Raises:
            FormatError: it is truncated, or of another student.
        """
        try:
            with safe_open(self.run.checkpoint, framework="pt") as file:
                notes = file.metadata()
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            self.accelerator.unwrap_model(self.tower).load_state_dict(_under("tower.", tensors))
            if self.average is not None:
                self.average.load_state_dict(_under("average.", tensors))
            state: dict[int, dict[str, Any]] = {}
            for name, value in _under("optimizer.", tensors).items():
                row, _, key = name.partition(".")
                state.setdefault(int(row), {})[key] = value
            self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
            torch.set_rng_state(tensors["rng"])
            self.step, self._metrics = int(notes["step"]), json.loads(notes["metrics"])
        except Exception as error:  # safetensors raises its own, torch RuntimeError, a stranger's file KeyError
            raise FormatError(f"{self.run.checkpoint}: truncated, or of another student: start a new run") from error


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices and kernels; none for biases, norms and embeddings, as in the authors' code."""
    decayed: list[Tensor] = []
    rest: list[Tensor] = []
    for name, parameter in model.named_parameters():
        plain = parameter.ndim < 2 or name.endswith("bias") or "embedding" in name or "pos_embed" in name
        (rest if plain else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def learning_rate(step: int, config: DistillConfig, steps_per_epoch: int) -> float:
    """Linear warm-up from a twentieth of ``min_lr``'s ratio, then a cosine from ``lr`` to ``min_lr``, per step."""
    total, warmup = steps_per_epoch * config.epochs, config.warmup_epochs * steps_per_epoch
    warmup = min(warmup, total / 2)  # a short run must still reach its rate
    if step < warmup:
        return config.lr * (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1.0, total - warmup)
    return config.min_lr + (config.lr - config.min_lr) * (1 + math.cos(math.pi * done)) / 2


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move the average towards the model; faster at first, when the model moves most."""
    keep = min(decay, (step + 1) / (step + 10))
    for mean, value in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(value.to(mean.dtype), 1 - keep)
        else:
            mean.copy_(value)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _ahead(batch_of: Callable[[int], Batch], first: int, last: int) -> Any:
    """The batches of steps ``first`` to ``last``, each made in a thread while the one before it is used."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as worker:
        waiting = worker.submit(batch_of, first) if first < last else None
        for step in range(first, last):
            assert waiting is not None
            batch = waiting.result()
            waiting = worker.submit(batch_of, step + 1) if step + 1 < last else None
            yield batch, step
