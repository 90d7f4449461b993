"""Residual adds as TensorRT fuses them: what skips a convolution enters the add as int8.

Of a convolution and the add behind it TensorRT makes one kernel, whose answer is int8 only where the other summand is:
https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/work-quantized-types.html (Q/DQ placement).
"""

from __future__ import annotations

import onnx


def quantise_residuals(graph: onnx.ModelProto) -> int:
    """Have every add of a quantised convolution and a value with a Q/DQ pair of its own read that pair; how many do.

    A value that skips a block is what the block's first convolution reads, so that its pair is there already.
    """
    nodes = graph.graph.node
    maker = {name: node for node in nodes for name in node.output}
    pairs = {
        maker[node.input[0]].input[0]: node.output[0]
        for node in nodes
        if node.op_type == "DequantizeLinear" and _is(maker.get(node.input[0]), "QuantizeLinear")
    }
    changed = 0
    for node in nodes:
        if node.op_type != "Add":
            continue
        for own, other in ((0, 1), (1, 0)):
            convolution = maker.get(node.input[own])
            if _is(convolution, "Conv") and _is_quantised(convolution, maker) and node.input[other] in pairs:
                node.input[other] = pairs[node.input[other]]
                changed += 1
                break
    return changed


def _is(node: onnx.NodeProto | None, kind: str) -> bool:
    return node is not None and node.op_type == kind


def _is_quantised(node: onnx.NodeProto | None, maker: dict[str, onnx.NodeProto]) -> bool:
    return node is not None and all(_is(maker.get(name), "DequantizeLinear") for name in node.input[:2])
