"""ModelOpt's int8 of an ONNX graph, as NVIDIA documents it for TensorRT. Arguments: FOLDER.

FOLDER holds fp32.onnx and calibration.npy (float32 [N, 3, S, S]); modelopt.onnx is written beside them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from modelopt.onnx.quantization import quantize

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    quantize(
        str(folder / "fp32.onnx"),
        quantize_mode="int8",
        calibration_data={"pixel_values": np.load(folder / "calibration.npy")},
        calibration_method="entropy",  # its default for int8
        calibration_eps=["cpu"],
        high_precision_dtype="fp16",  # what is not int8, as in ours
        output_path=str(folder / "modelopt.onnx"),
    )
