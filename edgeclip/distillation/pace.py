"""How long a run will take on this machine: some steps, and some of the teachers' views, are timed before it begins."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ..data.processes import processes
from ..models.build import build_model
from ..towers.spec import StudentSpec
from .config import DistillConfig
from .malloc import keep_freed_memory
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

    @property
    def told(self) -> str:
        """In words, with what would make it shorter."""
        parts = f"{lasting(self.teachers)} for the teacher, once, {lasting(self.training)} for {self.epochs} epochs"
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
    seconds = 0.0
    for teacher in teachers:
        if not isinstance(teacher, StoredTeacher):
            pixels = torch.randint(0, 256, (ROWS, 3, teacher.image_size, teacher.image_size)).float()
            texts = ["a photo of a cat in the rain"] * ROWS
            seconds += images * config.views / ROWS * _timed(lambda t=teacher, p=pixels: t.encode_squares(p))  # type: ignore[misc]
            seconds += sentences / ROWS * _timed(lambda t=teacher, s=texts: t.encode_text(s))  # type: ignore[misc]
    return Forecast(seconds * share, training, config.epochs)


def _timed(call: Callable[[], object]) -> float:
    call()
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def step_seconds(config: DistillConfig, spec: StudentSpec, rows: int | None = None) -> float:
    """Forward, backward and optimizer step of the student's image tower: the median of a few, seconds.

    ``rows``: images in a step; those of the settings when None.
    """
    keep_freed_memory()
    device = processes().device
    tower = build_model(spec, embed_dim=256, text_cfg=TEXT)[0].visual.to(device)
    optimizer = torch.optim.AdamW(tower.parameters())
    pixels = torch.randn(rows or config.batch_size, 3, spec.image_size, spec.image_size, device=device)
    took = []
    for _ in range(STEPS):
        start = time.perf_counter()
        optimizer.zero_grad()
        tower(pixels).square().mean().backward()
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
