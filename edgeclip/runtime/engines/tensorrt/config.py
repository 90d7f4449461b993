"""How TensorRT engines are built: what of it a user chooses."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EngineConfig:
    """How engines are built.

    Args:
        target_gpu: ``sm86``, ``sm89``, …: a GPU that need not be here (TensorRT-RTX alone); None: the one that is.
        largest_batch: the profile reaches from 1 to this; it is tuned for 1.
        workspace_mb: GPU memory that the layers may use beside weights and activations.
        version_compatible: also for later TensorRT of the same major version; somewhat slower.
        hardware_compatible: also for other GPUs from Ampere on; somewhat slower.
        dla: the deep-learning accelerator of a Jetson that takes what it can, 0 or 1; the GPU takes the rest.
    """

    target_gpu: str | None = None
    largest_batch: int = 32
    workspace_mb: int = 1024
    version_compatible: bool = False
    hardware_compatible: bool = False
    dla: int | None = None
