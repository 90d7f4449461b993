"""Which weights decay, how fast they learn, and their running average."""

from __future__ import annotations

import math
import os
import shutil
import sys
from typing import Any

import torch
from torch import Tensor, nn

from ..base.errors import EdgeclipError
from .config import DistillConfig

WITHOUT_DECAY = ("embedding", "pos_embed")  # in names, of towers that have no ``no_weight_decay``


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for matrices and kernels.

    None for biases, norms, LayerScale (all that has one dimension), embeddings, and what a tower's own
    ``no_weight_decay()`` names: class tokens, positions, attention biases (open_clip's, timm's).
    """
    named = set()
    for prefix, module in model.named_modules():
        if callable(exempting := getattr(module, "no_weight_decay", None)):
            named |= {f"{prefix}.{name}" if prefix else name for name in exempting()}
    decayed: list[Tensor] = []
    rest: list[Tensor] = []
    for name, parameter in model.named_parameters():
        exempt = name in named or name.endswith("bias") or any(word in name for word in WITHOUT_DECAY)
        plain = exempt or parameter.ndim < 2
        (rest if plain else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def learning_rate(step: int, config: DistillConfig, steps_per_epoch: int) -> float:
    """Linear warm-up from ``warmup_lr`` to ``lr``, then a cosine to ``min_lr``, per step, as the authors' schedule.

    A short run warms up for its half.
    """
    total, warmup = steps_per_epoch * config.epochs, config.warmup_epochs * steps_per_epoch
    warmup = min(warmup, total / 2)  # a short run must still reach its rate
    if step < warmup:
        first = min(config.warmup_lr, config.lr)
        return first + (config.lr - first) * step / warmup
    done = (step - warmup) / max(1.0, total - warmup)
    return config.min_lr + (config.lr - config.min_lr) * (1 + math.cos(math.pi * done)) / 2


@torch.no_grad()
def ema_update(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move the average towards the model; faster at first, when the model moves most."""
    keep = min(decay, (step + 1) / (step + 10))
    for mean, value in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(value.to(mean.dtype), 1 - keep)
        else:
            mean.copy_(value)


def refuse_no_compiler(device: torch.device) -> None:
    """Find out early what torch.compile would end with on its first step.

    Raises:
        EdgeclipError: it has no C++ compiler here.
    """
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if device.type == "cpu" and shutil.which(compiler) is None:
        raise EdgeclipError(f"compile needs the C++ compiler {compiler}: install it, or set compile to false")
