"""What a student takes on disk and in memory, predicted from its counts. Columns ``[N]``, MB (10^6 bytes)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..profiling.schema import KERNELS, MEASURES
from ..runtime.target import Precision
from .space import Space

QUANTISED = [KERNELS.index(kind) for kind in ("conv", "pointwise", "depthwise", "grouped", "linear")]
CALL_MB = 0.0005  # an operator in the graph's file
BYTES: dict[Precision, float] = {"fp32": 4, "fp16": 2, "int8": 1}
BASE_MB = 90.0  # Python, numpy, Pillow, a tokenizer and onnxruntime, where the profile did not measure it
COPIES = 2.0  # onnxruntime keeps a weight as it was stored and as its kernels want it
LIVE = 3.0  # activations alive at once, over those that the hungriest kernel reads and writes


def size_mb(space: Space, precision: Precision) -> Any:
    """The image tower's file. int8 keeps norms, positions and biases in fp32."""
    work, params = space.columns.work, space.columns.params_m
    weights = np.minimum(work[:, QUANTISED, MEASURES.index("params_m")].sum(axis=1), params)
    calls = work[:, :, MEASURES.index("calls")].sum(axis=1)
    rest = BYTES["fp32"] if precision == "int8" else BYTES[precision]
    return BYTES[precision] * weights + rest * (params - weights) + CALL_MB * calls


def memory_mb(space: Space, size: Any, base: float | None) -> Any:
    """Peak resident memory of a process that encodes one image at a time; ``size`` is :func:`size_mb`'s."""
    return (base or BASE_MB) + COPIES * size + LIVE * BYTES["fp32"] * space.columns.peak_melems
