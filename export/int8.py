"""int8 by static quantisation, with the recipe that the target's instruction set wants.

Only products with constant weights are quantised. Everything else (attention's own products, LayerNorm, Softmax,
Gelu, the residual adds) stays float: quantising those too makes a ViT slower than float on a CPU.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime import quantization as ortq
from onnxruntime.quantization.shape_inference import quant_pre_process

from .towers import IMAGE_INPUT


@dataclass(frozen=True)
class Recipe:
    """How values become int8. ``reduce_range`` keeps weights to 7 bits where 16-bit sums could saturate."""

    name: str
    activations: str  # "uint8" or "int8"
    symmetric: bool
    reduce_range: bool
    per_channel: bool = True

    def describe(self) -> dict[str, Any]:
        """Plain data for the manifest."""
        return {
            "recipe": self.name,
            "activations": self.activations,
            "weights": "int8",
            "symmetric_activations": self.symmetric,
            "reduce_range": self.reduce_range,
            "per_channel": self.per_channel,
            "kept_float": "activation x activation products, norms, softmax, gelu, residual adds",
        }


X86 = Recipe("x86", "uint8", symmetric=False, reduce_range=True)
X86_VNNI = Recipe("x86-vnni", "uint8", symmetric=False, reduce_range=False)
ARM = Recipe("arm", "int8", symmetric=True, reduce_range=False)


def recipe_for(features: Sequence[str]) -> Recipe:
    """The recipe for a CPU with these instruction sets (as a profile's ``device.features`` lists them)."""
    if any("vnni" in feature or "amx_int8" in feature for feature in features):
        return X86_VNNI
    if any(feature in ("asimd", "asimddp", "neon", "i8mm") for feature in features):
        return ARM
    return X86


def quantize_int8(source: Path, target: Path, pixels: NDArray[np.float32], recipe: Recipe = X86) -> None:
    """Quantise the fp32 image tower at ``source`` and write it to ``target``.

    Args:
        source: an ONNX file of :func:`edgeclip.export.towers.export_image_tower`.
        target: the file to write.
        pixels: calibration inputs, float32 ``[N, 3, S, S]``.
        recipe: see :func:`recipe_for`.
    """
    with _quiet(), tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        # Symbolic shape inference stumbles over towers that end in a normalisation.
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        graph = onnx.load(str(prepared))
        kind = ortq.QuantType.QInt8 if recipe.activations == "int8" else ortq.QuantType.QUInt8
        ortq.quantize_static(
            str(prepared),
            str(target),
            _Batches(pixels),
            quant_format=ortq.QuantFormat.QDQ,
            activation_type=kind,
            weight_type=ortq.QuantType.QInt8,
            per_channel=recipe.per_channel,
            reduce_range=recipe.reduce_range,
            op_types_to_quantize=["MatMul", "Gemm", "Conv"],
            nodes_to_exclude=without_constant_weights(graph),
            extra_options={"ActivationSymmetric": recipe.symmetric, "WeightSymmetric": True},
        )


def without_constant_weights(graph: onnx.ModelProto) -> list[str]:
    """Names of the products whose second operand is computed: ``MatMulConstBOnly`` is ignored by static QDQ."""
    constants = {value.name for value in graph.graph.initializer}
    constants |= {node.output[0] for node in graph.graph.node if node.op_type == "Constant"}
    products = (node for node in graph.graph.node if node.op_type in ("MatMul", "Gemm"))
    return [node.name for node in products if node.input[1] not in constants]


class _Batches(ortq.CalibrationDataReader):
    """Feeds the calibration pixels a few rows at a time."""

    def __init__(self, pixels: NDArray[np.float32], rows: int = 16) -> None:
        self._parts = iter(pixels[i : i + rows] for i in range(0, len(pixels), rows))

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        part = next(self._parts, None)
        return None if part is None else {IMAGE_INPUT: part}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """onnxruntime's quantiser warns on the root logger about choices that are made here on purpose."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(level)
