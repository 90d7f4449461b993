"""Optimum's int8 recipes for known instruction sets, as candidates beside our own: ``edgeclip[optimum]``."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.scratch import scratch_folder
from .graphs import IMAGE_INPUT, quiet

IMAGES = 64  # Optimum keeps every value of every image until the ranges are set


def available() -> bool:
    """Whether Optimum's onnxruntime half is installed."""
    return find_spec("optimum") is not None and find_spec("optimum.onnxruntime") is not None


def names(features: Sequence[str]) -> list[str]:
    """Optimum's name of this CPU's instruction set, as ``<set>-static`` and ``<set>-dynamic``."""
    arm = any(feature.startswith("asimd") for feature in features)
    vnni = "avx512_vnni" in features
    instruction_set = "arm64" if arm else "avx512_vnni" if vnni else "avx512" if "avx512f" in features else "avx2"
    return [f"{instruction_set}-static", f"{instruction_set}-dynamic"]


def write_recipes(
    source: Path, folder: Path, pixels: NDArray[np.float32], features: Sequence[str]
) -> Iterator[tuple[str, Path, dict[str, Any]]]:
    """Quantise the fp32 tower at ``source`` as Optimum would for this CPU; yields name, file and recipe of each.

    Args:
        source: an fp32 image tower.
        folder: where the graphs go.
        pixels: calibration inputs, float32 ``[N, 3, S, S]``.
        features: the CPU's instruction sets, as a profile lists them.
    """
    from optimum.onnxruntime import ORTQuantizer
    from optimum.onnxruntime.configuration import AutoQuantizationConfig, CalibrationConfig, CalibrationMethod

    for name in names(features):
        instructions, _, kind = name.partition("-")
        static = kind == "static"
        config = getattr(AutoQuantizationConfig, instructions)(is_static=static, per_channel=True)
        with quiet(), scratch_folder() as scratch:
            quantizer = ORTQuantizer(source)
            ranges = None
            if static:
                rows: Any = [{IMAGE_INPUT: row} for row in pixels[:IMAGES]]
                calibration = CalibrationConfig("images", "", "", len(rows), CalibrationMethod.MinMax)
                augmented = Path(scratch) / "augmented.onnx"
                ranges = quantizer.fit(rows, calibration, augmented, config.operators_to_quantize)
            made, target = Path(scratch) / "made", folder / f"optimum-{name}.onnx"
            quantizer.quantize(config, made, calibration_tensors_range=ranges)
            shutil.move(next(made.glob("*.onnx")), target)
        yield f"int8 optimum {name}", target, {"recipe": f"optimum {name}", "config": str(config)}
