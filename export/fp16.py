"""fp16 that survives: weights and arithmetic in half precision; what half precision cannot hold stays in fp32."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

from ..runtime.engines.ort import Onnxruntime
from .graphs import quiet, read_graph, save_graph
from .ranges import float_values, magnitudes

HALF_MAX = 65504.0
MARGIN = 4.0  # images that were not looked at may give larger values
QUANTISERS = ("QuantizeLinear", "DequantizeLinear")
TAIL = {"ReduceL2", "Clip", "Div"}  # the closing normalisation: squares overflow, and its guard 1e-12 becomes 0


def rounds_halves() -> bool:
    """Whether this onnxruntime's QuantizeLinear rounds a half, as it should: before 1.30 a CPU's cuts it off."""
    major, minor = Onnxruntime().version().split(".")[:2]
    return (int(major), int(minor)) >= (1, 30)


def convert_fp16(source: Path, target: Path, pixels: NDArray[np.float32] | None = None) -> dict[str, Any]:
    """Convert the fp32 image tower at ``source`` and write it to ``target``; inputs and outputs stay fp32.

    Args:
        source: an ONNX file of :func:`edgeclip.exporting.towers.export_image_tower`.
        target: the file to write.
        pixels: calibration inputs, float32 ``[N, 3, S, S]``; without them only the weights' ranges are known.

    Returns:
        For the manifest: what was kept in fp32, and why.

    Raises:
        FormatError: ``source`` is damaged or not an image tower of ours.
    """
    graph = read_graph(source)
    kept = beyond_half(graph, pixels)
    save_graph(to_half(graph, kept), target)
    return {"recipe": "fp16", "inputs_and_outputs": "fp32", "kept_fp32": kept}


def beyond_half(graph: onnx.ModelProto, pixels: NDArray[np.float32] | None = None) -> dict[str, str]:
    """The nodes of an fp32 image tower that must stay in fp32 -> why.

    Without ``pixels``, float32 ``[N, 3, S, S]``, only the weights' ranges are known.
    """
    kept = dict.fromkeys(_reading_large_weights(graph), "a weight is beyond half precision")
    if pixels is not None:
        kept |= {node: f"values up to {size:.3g}" for node, size in nodes_out_of_range(graph, pixels).items()}
    return kept


def to_half(graph: onnx.ModelProto, kept: Collection[str]) -> onnx.ModelProto:
    """``graph`` in half precision but for its inputs, its outputs, its tail and the nodes ``kept``; it may be changed.

    Where it is quantised, the QuantizeLinear and DequantizeLinear of what a kept node reads are kept as well.
    """
    tail = [node.name for node in graph.graph.node[-len(TAIL) :] if node.op_type in TAIL]
    blocked = [*_with_quantisers(graph, kept), *tail]
    with quiet():  # it warns of every weight it rounds to the smallest half
        half = convert_float_to_float16(graph, keep_io_types=True, node_block_list=blocked)
    _drop_repeated(half)
    _join_fp32(half)
    model = OnnxModel(half)
    model.topological_sort()  # the conversion appends its casts at the end, which the checker refuses
    onnx.checker.check_model(model.model)
    return model.model


def _with_quantisers(graph: onnx.ModelProto, nodes: Collection[str]) -> list[str]:
    """``nodes``, and the quantisers between them and the values that they read."""
    maker = {name: node for node in graph.graph.node for name in node.output}
    names = list(nodes)
    waiting = [name for node in graph.graph.node if node.name in set(nodes) for name in node.input]
    while waiting:
        node = maker.get(waiting.pop())
        if node is not None and node.op_type in QUANTISERS:
            names.append(node.name)
            waiting.append(node.input[0])
    return names


def _drop_repeated(graph: onnx.ModelProto) -> None:
    """Leave one of each cast: onnxruntime 1.30 and 1.31 make as many under one name as there are nodes that read it."""
    made: set[str] = set()
    for node in list(graph.graph.node):
        if made.issuperset(node.output):
            graph.graph.node.remove(node)
        made.update(node.output)


def _join_fp32(graph: onnx.ModelProto) -> None:
    """Let neighbours that are both kept in fp32 hand each other fp32.

    The conversion puts a cast to half and one back between them: what one was kept for would not reach the other.
    """
    halved = {
        node.output[0]: node.input[0]
        for node in graph.graph.node
        if node.op_type == "Cast" and node.attribute[0].i == TensorProto.FLOAT16
    }
    given = {}
    for node in graph.graph.node:
        if node.op_type == "Cast" and node.attribute[0].i == TensorProto.FLOAT and node.input[0] in halved:
            node.input[0] = given[node.output[0]] = halved[node.input[0]]
    outputs = {value.name for value in graph.graph.output}
    for node in graph.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = given.get(name, name)
    while True:  # the casts that nobody reads any more
        read = {name for node in graph.graph.node for name in node.input} | outputs
        idle = [node for node in graph.graph.node if node.op_type == "Cast" and node.output[0] not in read]
        if not idle:
            return
        for node in idle:
            graph.graph.node.remove(node)


def nodes_out_of_range(graph: onnx.ModelProto, pixels: NDArray[np.float32]) -> dict[str, float]:
    """Nodes that read or compute values near or beyond half precision's range on ``pixels`` -> the largest of them."""
    values = float_values(graph)
    sizes = magnitudes(graph, values, pixels)
    large = {value: float(size[0]) for value, size in sizes.items() if size[0] * MARGIN > HALF_MAX}
    largest = {}
    for node in graph.graph.node:
        met = [large[name] for name in (*node.input, *node.output) if name in large]
        if met:
            largest[node.name] = max(met)
    return largest


def _reading_large_weights(graph: onnx.ModelProto) -> list[str]:
    """Names of the nodes that read a float initializer with a value beyond +-65504: saturated, it would be wrong."""
    too_large = {
        value.name
        for value in graph.graph.initializer
        if value.data_type == TensorProto.FLOAT and abs(numpy_helper.to_array(value)).max(initial=0) > HALF_MAX
    }
    return [node.name for node in graph.graph.node if too_large & set(node.input)]
