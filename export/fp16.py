"""fp16 that survives: weights and arithmetic in half precision, inputs and outputs in fp32."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, numpy_helper
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

HALF_MAX = 65504.0


def convert_fp16(source: Path, target: Path) -> dict[str, Any]:
    """Convert the fp32 image tower at ``source`` and write it to ``target``; returns what was kept in fp32.

    Nodes with a weight beyond half precision's range stay fp32: saturated weights give wrong embeddings, quietly.
    """
    graph = onnx.load(str(source))
    kept = nodes_out_of_range(graph)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of every weight it rounds to the smallest half
        half = convert_float_to_float16(graph, keep_io_types=True, node_block_list=kept)
    model = OnnxModel(half)
    model.topological_sort()  # the conversion appends its casts at the end, which the checker refuses
    onnx.checker.check_model(model.model)
    onnx.save_model(model.model, str(target))
    return {"recipe": "fp16", "inputs_and_outputs": "fp32", "kept_fp32": kept}


def nodes_out_of_range(graph: onnx.ModelProto) -> list[str]:
    """Names of the nodes that read a float initializer with a value beyond +-65504."""
    too_large = {
        value.name
        for value in graph.graph.initializer
        if value.data_type == TensorProto.FLOAT and abs(numpy_helper.to_array(value)).max(initial=0) > HALF_MAX
    }
    return [node.name for node in graph.graph.node if too_large & set(node.input)]
