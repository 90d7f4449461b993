"""The processes of a run: one, or as many as ``torchrun`` or ``accelerate launch`` started."""

from __future__ import annotations

import torch
from accelerate import PartialState


def views_device() -> torch.device:
    """Where views are made: this process's NVIDIA GPU, else the CPU (Apple's GPUs lack the sampling at borders)."""
    device = processes().device
    return device if device.type == "cuda" else torch.device("cpu")


def processes() -> PartialState:
    """Which process this is, of how many, on which device. Without an accelerator, Accelerate must be told so."""
    return PartialState(cpu=not torch.accelerator.is_available())
