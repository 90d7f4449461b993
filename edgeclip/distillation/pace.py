"""How long a run will take on this machine: some steps, and some of the teachers' views, are timed before it begins."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..data.processes import processes
from ..models.build import build_model
from ..towers.spec import StudentSpec
from .config import DistillConfig
from .malloc import keep_freed_memory
from .student import with_its_own_text_tower
from .teachers import StoredTeacher, Teacher

STEPS = 6
ROWS = 32  # images, and sentences, that are timed at a time
OVERHEAD = 1.2  # views, averages and logs beside bare steps: 1.1 where benchmarks/demo_epochs.py ran, on two cores
LEAST = 20_000  # images, times epochs: less is over before it is worth timing
TEXT = {"context_length": 8, "vocab_size": 64, "width": 64, "heads": 1, "layers": 1}  # of no weight in what is timed


@dataclass(frozen=True)
class Forecast:
    """Seconds that a run is expected to take."""

    teachers: float  # what they make of the images and sentences; none of it where that is kept from an earlier run
    training: float
    epochs: int
    text: float = 0.0  # of the training, for a text tower of the student's own

    @property
    def told(self) -> str:
        """In words, with what would make it shorter."""
        parts = f"{lasting(self.teachers)} for the teacher, once, {lasting(self.training)} for {self.epochs} epochs"
        if self.text > self.training / 2:
            parts += f", {lasting(self.text)} of it for the text tower (a text_shape in the settings makes it smaller)"
        fewer = max(1, self.epochs // 4)
        less = f"; {fewer} epochs would take {lasting(self.training * fewer / self.epochs)}" if self.epochs > 1 else ""
        return f"this takes about {lasting(self.teachers + self.training)}: {parts}{less}"


def forecast(
    config: DistillConfig, spec: StudentSpec, teachers: Sequence[Teacher], images: int, sentences: int
) -> Forecast | None:
    """What is timed here, times how often it will be done; None where so little is to be done that nobody waits for it.

    Args:
        config: the settings.
        spec: the student.
        teachers: those that are at hand are timed; what others made is stored already.
        images: how many there are to learn from.
        sentences: likewise.
    """
    if images * config.epochs < LEAST:
        return None
    share = 1 / processes().num_processes
    steps = max(1, images // config.batch_size) * config.epochs
    rows = min(ROWS, config.batch_size)
    training = OVERHEAD * steps * step_seconds(config, spec, rows) * config.batch_size / rows * share
    text = 0.0
    if config.text_tower == "student":
        some = min(config.batch_size, sentences)
        text = OVERHEAD * steps * text_step_seconds(config, spec, teachers[0], rows) * some / rows * share
    seconds = 0.0
    for teacher in teachers:
        if not isinstance(teacher, StoredTeacher):
            pixels = torch.randint(0, 256, (ROWS, 3, teacher.image_size, teacher.image_size)).float()
            texts = ["a photo of a cat in the rain"] * ROWS
            seconds += images * config.views / ROWS * _timed(lambda t=teacher, p=pixels: t.encode_squares(p))  # type: ignore[misc]
            seconds += sentences / ROWS * _timed(lambda t=teacher, s=texts: t.encode_text(s))  # type: ignore[misc]
    return Forecast(seconds * share, training + text, config.epochs, text)


def _timed(call: Callable[[], object]) -> float:
    call()
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def step_seconds(config: DistillConfig, spec: StudentSpec, rows: int | None = None) -> float:
    """Forward, backward and optimizer step of the student's image tower: the median of a few, seconds.

    ``rows``: images in a step; those of the settings when None.
    """
    tower = build_model(spec, embed_dim=256, text_cfg=TEXT)[0].visual
    return _step_seconds(tower, tower, torch.randn(rows or config.batch_size, 3, spec.image_size, spec.image_size))


def text_step_seconds(config: DistillConfig, spec: StudentSpec, teacher: Teacher, rows: int) -> float:
    """The same of the student's own text tower, of ``rows`` sentences."""
    model, model_cfg = with_its_own_text_tower(teacher, spec, config)
    text = model_cfg["text_cfg"]
    length, words = text.get("context_length", 77), text.get("vocab_size", 49408)  # open_clip's own defaults
    ids = torch.randint(1, words, (rows, length))
    model.visual = torch.nn.Identity()
    return _step_seconds(model, model.encode_text, ids)


def _step_seconds(tower: torch.nn.Module, encode: Callable[[Tensor], Tensor], batch: Tensor) -> float:
    keep_freed_memory()
    device = processes().device
    tower, batch, took = tower.to(device), batch.to(device), []
    optimizer = torch.optim.AdamW(tower.parameters())
    for _ in range(STEPS):
        start = time.perf_counter()
        optimizer.zero_grad()
        encode(batch).square().mean().backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        took.append(time.perf_counter() - start)
    return statistics.median(took[1:])


def lasting(seconds: float) -> str:
    """A time as people say it: ``40 s``, ``12 min``, ``1 h 20 min``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
