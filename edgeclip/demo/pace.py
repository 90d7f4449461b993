"""How many epochs fit the demo's minutes on this machine: a few training steps are timed before anything is trained."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..distill.config import DistillConfig
    from ..towers.spec import StudentSpec

SECONDS = 100.0  # of bare steps; views, averages and logs take half as long again. The whole demo: under six minutes
FEWEST = 12  # epochs: less teaches too little to be worth looking at
STEPS = 6


def paced(config: DistillConfig, spec: StudentSpec, images: int) -> DistillConfig:
    """The same settings with as many epochs as ``SECONDS`` allow, at most those of ``config``.

    Args:
        config: the settings.
        spec: the student.
        images: how many there are to learn from.
    """
    each = step_seconds(config, spec) * max(1, images // config.batch_size)
    epochs = max(FEWEST, min(config.epochs, int(SECONDS / each)))
    return config.model_copy(update={"epochs": epochs})


def step_seconds(config: DistillConfig, spec: StudentSpec) -> float:
    """Forward, backward and optimizer step of the student's image tower on one batch: the median of a few, seconds."""
    import torch

    from ..distill.malloc import keep_freed_memory
    from ..models.build import build_model

    keep_freed_memory()
    text_cfg = {"context_length": 8, "vocab_size": 64, "width": 64, "heads": 1, "layers": 1}
    tower = build_model(spec, embed_dim=256, text_cfg=text_cfg)[0].visual
    optimizer = torch.optim.AdamW(tower.parameters())
    pixels = torch.randn(config.batch_size, 3, spec.image_size, spec.image_size)
    took = []
    for _ in range(STEPS):
        start = time.perf_counter()
        optimizer.zero_grad()
        tower(pixels).square().mean().backward()
        optimizer.step()
        took.append(time.perf_counter() - start)
    return statistics.median(took[1:])
