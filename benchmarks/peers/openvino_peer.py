"""OpenVINO in fp32, and in int8 by NNCF's post-training quantisation, each as its documentation says."""

from __future__ import annotations

from pathlib import Path

import nncf
import numpy as np
import openvino as ov
from common import Run, main


def contenders(folder: Path, threads: int, pixels: dict[str, np.ndarray]) -> dict[str, Run]:
    """fp32, int8, and int8 told that it is a transformer."""
    core = ov.Core()
    model = core.read_model(folder / "fp32.onnx")
    images = [row[None] for row in pixels["calibration"]]
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}

    def compiled(own: ov.Model) -> Run:
        request = core.compile_model(own, "CPU", settings).create_infer_request()
        return lambda rows: request.infer({0: rows})[0].copy()

    def quantised(kind: nncf.ModelType | None) -> Run:
        return compiled(nncf.quantize(model, nncf.Dataset(images), subset_size=len(images), model_type=kind))

    return {
        "OpenVINO fp32": compiled(model),
        "OpenVINO int8 (NNCF)": quantised(None),
        "OpenVINO int8 (NNCF, transformer)": quantised(nncf.ModelType.TRANSFORMER),
    }


if __name__ == "__main__":
    main(contenders)
