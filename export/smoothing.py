"""Smoothing before int8: outlier channels of a LayerNorm are scaled down, and the next weights up by as much.

The idea is SmoothQuant's (arXiv 2211.10438): s_j = max|x_j|^a / max|w_j|^(1 - a). Where a LayerNorm feeds nothing but
products with constant weights, 1/s folds into its scale and bias and s into the rows of the weights: the tower computes
the same, its activations are easier to quantise, and no node is added.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from .graphs import constants
from .ranges import magnitudes

SMALLEST = 1e-5


class Fold(NamedTuple):
    """A LayerNorm and the products that read it, all with constant weights ``[in, out]``."""

    norm: onnx.NodeProto
    products: list[onnx.NodeProto]


def smoothed(graph: onnx.ModelProto, pixels: NDArray[np.float32], alpha: float) -> onnx.ModelProto | None:
    """``graph`` with every LayerNorm -> product pair smoothed; None where it has no such pair.

    Args:
        graph: an fp32 image tower; left as it is.
        pixels: calibration inputs, float32 ``[N, 3, S, S]``.
        alpha: 0 leaves the difficulty with the activations, 1 gives all of it to the weights.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(graph)
    folds = find_folds(changed)
    if not folds:
        return None
    sizes = magnitudes(graph, [fold.norm.output[0] for fold in folds], pixels, per_channel=True)
    weights = {value.name: value for value in changed.graph.initializer}
    for fold in folds:
        matrices = [numpy_helper.to_array(weights[product.input[1]]) for product in fold.products]
        rows = np.max([np.abs(matrix).max(axis=1) for matrix in matrices], axis=0)
        x, w = np.maximum(sizes[fold.norm.output[0]], SMALLEST), np.maximum(rows, SMALLEST)
        scale = np.maximum(x**alpha / w ** (1 - alpha), SMALLEST).astype(np.float32)
        for place, name in list(enumerate(fold.norm.input))[1:]:
            _give(changed, fold.norm, place, numpy_helper.to_array(weights[name]) / scale)
        for product, matrix in zip(fold.products, matrices, strict=True):
            _give(changed, product, 1, matrix * scale[:, None])
    read = {name for node in changed.graph.node for name in node.input}
    kept = [value for value in changed.graph.initializer if value.name in read]
    del changed.graph.initializer[:]
    changed.graph.initializer.extend(kept)
    return changed


def find_folds(graph: onnx.ModelProto) -> list[Fold]:
    """The LayerNorms that smoothing can use: those that feed nothing but products with constant weights."""
    known = constants(graph)
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    outputs = {value.name for value in graph.graph.output}
    folds = []
    for node in graph.graph.node:
        products = readers.get(node.output[0], []) if node.op_type == "LayerNormalization" else []
        if products and node.output[0] not in outputs and all(_is_product(product, known) for product in products):
            folds.append(Fold(node, products))
    return folds


def _is_product(node: onnx.NodeProto, known: set[str]) -> bool:
    """A product of a computed value with a constant ``[in, out]`` matrix."""
    flipped = any(entry.name in ("transA", "transB") and entry.i for entry in node.attribute)
    return node.op_type in ("MatMul", "Gemm") and node.input[1] in known and node.input[0] not in known and not flipped


def _give(graph: onnx.ModelProto, node: onnx.NodeProto, place: int, array: NDArray[np.float32]) -> None:
    """Make ``array`` an input of ``node``, under a name of its own: exporters let nodes share equal weights."""
    name = f"{node.name}.smoothed.{place}"
    graph.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array, np.float32), name))
    node.input[place] = name
