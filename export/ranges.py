"""What values a tower computes on calibration images: the largest magnitudes, per value or per channel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from ..base.scratch import scratch_folder
from ..runtime.engines.ort import Onnxruntime
from .graphs import save_graph

ROWS = 8  # images at a time


def float_values(graph: onnx.ModelProto) -> list[str]:
    """Names of the float32 values that the nodes of ``graph`` compute."""
    inferred = onnx.shape_inference.infer_shapes(graph)
    known = {v.name: v.type.tensor_type.elem_type for v in (*inferred.graph.value_info, *inferred.graph.output)}
    return [name for node in graph.graph.node for name in node.output if known.get(name) == TensorProto.FLOAT]


def magnitudes(
    graph: onnx.ModelProto, values: Sequence[str], pixels: NDArray[np.float32], *, per_channel: bool = False
) -> dict[str, NDArray[np.float32]]:
    """The largest magnitude that each of ``values`` takes while ``pixels`` pass through ``graph``.

    Args:
        graph: an fp32 image tower.
        values: names of float32 values in it.
        pixels: float32 ``[N, 3, S, S]``.
        per_channel: one figure for each index of the last axis, instead of one for the whole value.

    Returns:
        name -> float32 ``[C]``, or ``[1]``. NaN and infinity are reported as infinity.
    """
    watched = onnx.ModelProto()
    watched.CopyFrom(graph)
    for value in values:
        watched.graph.node.append(helper.make_node("Abs", [value], [f"{value}.size"]))
        watched.graph.output.append(helper.make_tensor_value_info(f"{value}.size", TensorProto.FLOAT, None))
    if not per_channel:  # reduced inside the graph: whole activations would not fit into memory
        for value, output in zip(values, watched.graph.output[-len(values) :] if values else (), strict=True):
            watched.graph.node.append(helper.make_node("ReduceMax", [f"{value}.size"], [f"{value}.max"], keepdims=0))
            output.name = f"{value}.max"
    suffix = "size" if per_channel else "max"
    magnitudes_of: dict[str, NDArray[np.float32]] = {}
    with scratch_folder() as folder:
        file = Path(folder) / "watched.onnx"
        save_graph(watched, file)
        session = Onnxruntime().open(file)
        for start in range(0, len(pixels), ROWS):
            sizes = session.values([f"{value}.{suffix}" for value in values], pixels[start : start + ROWS])
            for value, size in zip(values, sizes, strict=True):
                largest = size.reshape(-1, size.shape[-1]).max(axis=0) if per_channel else size.reshape(1)
                largest = np.nan_to_num(largest, nan=np.inf)
                magnitudes_of[value] = np.maximum(magnitudes_of.get(value, largest), largest)
    return magnitudes_of
