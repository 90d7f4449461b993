"""Optimum's int8 recipe for this CPU, static and dynamic, its calibration with its defaults."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from common import Run, main, session
from optimum.onnxruntime import ORTQuantizer
from optimum.onnxruntime.configuration import AutoQuantizationConfig, CalibrationConfig, CalibrationMethod

IMAGES = 64


def contenders(folder: Path, threads: int, pixels: dict[str, np.ndarray]) -> dict[str, Run]:
    """The recipe that Optimum names after this CPU's instruction set."""
    flags = Path("/proc/cpuinfo").read_text().split()
    kind = "avx512_vnni" if "avx512_vnni" in flags else "avx512" if "avx512f" in flags else "avx2"
    found = {}
    for static in (True, False):
        config = getattr(AutoQuantizationConfig, kind)(is_static=static, per_channel=True)
        quantizer = ORTQuantizer(folder / "fp32.onnx")
        ranges = None
        if static:
            rows = [{"pixel_values": row} for row in pixels["calibration"][:IMAGES]]
            calibration = CalibrationConfig("images", "", "", len(rows), CalibrationMethod.MinMax)
            ranges = quantizer.fit(rows, calibration, folder / "augmented.onnx", config.operators_to_quantize)
        name = f"Optimum {kind} {'static' if static else 'dynamic'}"
        quantizer.quantize(config, folder / name.replace(" ", "-"), calibration_tensors_range=ranges)
        found[name] = session(folder / name.replace(" ", "-") / "fp32_quantized.onnx", threads)
    return found


if __name__ == "__main__":
    main(contenders)
