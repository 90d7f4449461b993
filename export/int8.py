"""int8 by static quantisation, with the recipe that the target's instruction set wants.

Only products with constant weights are quantised. Everything else (attention's own products, LayerNorm, Softmax,
Gelu, the residual adds) stays float: quantising those too makes a ViT slower than float on a CPU. On a GPU it becomes
fp16, beside which int8 pays; beside fp32 a graph that is fp16 throughout would win.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime import quantization as ortq
from onnxruntime.quantization.calibrate import TensorsData, create_calibrator
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from ..base.errors import EdgeclipError
from ..base.files import mendable
from ..base.scratch import scratch_folder
from ..runtime.engines.registry import known_engine
from ..runtime.target import Target
from .fp16 import beyond_half, to_half
from .graphs import IMAGE_INPUT, PRODUCTS, block_of, quiet, read_graph, save_graph, weighted
from .smoothing import smoothed

Method = Literal["min-max", "entropy", "percentile"]
ROWS = 16  # calibration images at a time: histograms keep what they have not yet counted
PERCENTILE = 99.99
FLOAT = "activation x activation products, norms, softmax, gelu, residual adds"
GROUPED = "convolutions in groups but not of one channel to one"
SMOOTHING = 0.5
METHODS: dict[Method, tuple[ortq.CalibrationMethod, dict[str, Any]]] = {
    "min-max": (ortq.CalibrationMethod.MinMax, {}),
    "entropy": (ortq.CalibrationMethod.Entropy, {"symmetric": False}),
    "percentile": (ortq.CalibrationMethod.Percentile, {"symmetric": False, "percentile": PERCENTILE}),
}


@dataclass(frozen=True)
class Recipe:
    """How values become int8. ``reduce_range`` keeps weights to 7 bits where 16-bit sums could saturate."""

    name: str  # of the target
    activations: Literal["uint8", "int8"]
    symmetric: bool  # zero point 0
    reduce_range: bool
    fused: bool = False  # as TensorRT makes kernels: biases and what leaves a product float, and the rest fp16
    method: Method = "min-max"
    smoothing: float | None = None  # SmoothQuant's alpha
    kept_float: tuple[str, ...] = ()  # blocks

    @property
    def title(self) -> str:
        """What tables call it."""
        words = [f"int8 {self.name}"]
        words += [self.method] if self.method != "min-max" else []
        words += ["smoothed"] if self.smoothing else []
        words += [f"{len(self.kept_float)} block(s) float"] if self.kept_float else []
        return " ".join(words)

    def describe(self) -> dict[str, Any]:
        """Plain data for the manifest."""
        return {
            "recipe": self.name,
            "activations": self.activations,
            "weights": "int8, symmetric, per channel",
            "symmetric_activations": self.symmetric,
            "rest": "fp16" if self.fused else "fp32",
            "reduce_range": self.reduce_range,
            "ranges": f"percentile {PERCENTILE}" if self.method == "percentile" else self.method,
            "smoothing": self.smoothing,
            "kept_float": [FLOAT if self.fused else f"{FLOAT}, {GROUPED}", *self.kept_float],
        }


X86 = Recipe("x86", "uint8", symmetric=False, reduce_range=True)
X86_VNNI = Recipe("x86-vnni", "uint8", symmetric=False, reduce_range=False)
ARM = Recipe("arm", "int8", symmetric=True, reduce_range=False)
TENSORRT = Recipe("tensorrt", "int8", symmetric=True, reduce_range=False, fused=True)
RECIPES = {recipe.name: recipe for recipe in (X86, X86_VNNI, ARM, TENSORRT)}


def recipe_for(target: Target) -> Recipe:
    """The recipe that a target's engine wants on the target's CPU.

    Raises:
        EdgeclipError: nobody here knows the engine, or it wants a recipe that is not known.
    """
    name = known_engine(target.runtime.name).recipe("int8", target.device.features)
    if name not in RECIPES:
        raise EdgeclipError(f"{target.runtime.name} wants int8 by the recipe {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]


class Calibrated:
    """An fp32 image tower and calibration pixels, from which any number of recipes are made.

    What recipes share (the smoothed tower, the ranges of its values) is computed once.
    """

    def __init__(self, source: Path, pixels: NDArray[np.float32]) -> None:
        """``pixels`` are float32 ``[N, 3, S, S]``.

        Raises:
            FormatError: ``source`` is damaged or not an image tower of ours.
        """
        self.pixels = pixels
        self._graphs: dict[float | None, onnx.ModelProto | None] = {None: read_graph(source)}
        self._large: dict[float | None, dict[str, str]] = {}
        self._ranges: dict[tuple[float | None, Method], TensorsData] = {}

    def graph(self, smoothing: float | None) -> onnx.ModelProto | None:
        """The tower in fp32, smoothed or not; None where there is nothing to smooth."""
        if smoothing not in self._graphs:
            plain = self._graphs[None]
            assert plain is not None and smoothing is not None
            self._graphs[smoothing] = smoothed(plain, self.pixels, smoothing)
        return self._graphs[smoothing]

    @property
    def blocks(self) -> list[str]:
        """Every block with something to quantise, in the order of the tower."""
        graph = self.graph(None)
        assert graph is not None
        return list(dict.fromkeys(block_of(node.name) for node in weighted(graph)))

    def write(self, target: Path, recipe: Recipe) -> None:
        """Quantise by ``recipe`` and write the graph to ``target``.

        Raises:
            EdgeclipError: the recipe smooths, and the tower has no LayerNorm to fold that into.
        """
        graph = self.graph(recipe.smoothing)
        if graph is None:
            raise EdgeclipError("this tower has no LayerNorm that smoothing could be folded into: leave smoothing out")
        slow = set() if recipe.fused else _in_small_groups(graph)
        nodes = [n.name for n in weighted(graph) if block_of(n.name) not in recipe.kept_float and n.name not in slow]
        if not nodes:
            save_graph(graph, target)
            return
        copied = onnx.shape_inference.infer_shapes(graph)
        kind = ortq.QuantType.QInt8 if recipe.activations == "int8" else ortq.QuantType.QUInt8
        with quiet():
            quantizer = QDQQuantizer(
                copied,
                per_channel=True,
                reduce_range=recipe.reduce_range,
                weight_qType=ortq.QuantType.QInt8,
                activation_qType=kind,
                tensors_range=self._ranges_of(recipe.smoothing, recipe.method),
                nodes_to_quantize=nodes,
                nodes_to_exclude=[],
                op_types_to_quantize=list(PRODUCTS),
                extra_options={
                    "ActivationSymmetric": recipe.symmetric,
                    "WeightSymmetric": True,
                    "QuantizeBias": not recipe.fused,
                    # A matrix product's sums are used as they are: rounding them again costs accuracy and no time.
                    "OpTypesToExcludeOutputQuantization": list(PRODUCTS if recipe.fused else PRODUCTS[:2]),
                },
            )
            quantizer.quantize_model()
            quantizer.model.topological_sort()
        made = quantizer.model.model
        save_graph(to_half(made, self._beyond_half(recipe.smoothing)) if recipe.fused else made, target)

    def _beyond_half(self, smoothing: float | None) -> dict[str, str]:
        if smoothing not in self._large:
            graph = self.graph(smoothing)
            assert graph is not None
            self._large[smoothing] = beyond_half(graph, self.pixels)
        return self._large[smoothing]

    def _ranges_of(self, smoothing: float | None, method: Method) -> TensorsData:
        key = (smoothing, method)
        if key not in self._ranges:
            kind, options = METHODS[method]
            graph = self.graph(smoothing)
            assert graph is not None
            with quiet(), scratch_folder() as folder, mendable(Path(folder)):
                source, augmented = Path(folder) / "source.onnx", Path(folder) / "augmented.onnx"
                save_graph(graph, source)
                calibrator = create_calibrator(
                    str(source), list(PRODUCTS), str(augmented), calibrate_method=kind, extra_options=options
                )
                for start in range(0, len(self.pixels), ROWS):
                    calibrator.collect_data(_Batch(self.pixels[start : start + ROWS]))
                self._ranges[key] = calibrator.compute_data()
        return self._ranges[key]


def quantize_int8(source: Path, target: Path, pixels: NDArray[np.float32], recipe: Recipe = X86) -> None:
    """Quantise the fp32 image tower at ``source`` by one recipe and write it to ``target``.

    Args:
        source: an ONNX file of :func:`edgeclip.exporting.towers.export_image_tower`.
        target: the file to write.
        pixels: calibration inputs, float32 ``[N, 3, S, S]``.
        recipe: see :func:`recipe_for`.

    Raises:
        FormatError: ``source`` is damaged or not an image tower of ours.
    """
    Calibrated(source, pixels).write(target, recipe)


def first_choices(recipe: Recipe, calibrated: Calibrated) -> list[Recipe]:
    """The cheap ways to reach int8 on one target: plain, and smoothed where the tower can be."""
    smooth = calibrated.graph(SMOOTHING) is not None
    return [recipe, *([replace(recipe, smoothing=SMOOTHING)] if smooth else [])]


def second_choices(recipe: Recipe, calibrated: Calibrated) -> list[Recipe]:
    """What is worth a trial where none of :func:`first_choices` is faithful enough: ranges that leave outliers out."""
    return [replace(r, method=m) for r in first_choices(recipe, calibrated) for m in ("percentile", "entropy")]


def _in_small_groups(graph: onnx.ModelProto) -> set[str]:
    """Names of the convolutions in groups, but for those of one channel to one.

    onnxruntime has no int8 kernel of their own: a FastViT, which has four of 53, takes twice as long for them.
    """
    shapes = {value.name: value.dims for value in graph.graph.initializer}
    names = set()
    for node in graph.graph.node:
        groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
        if node.op_type == "Conv" and groups > 1 and list(shapes.get(node.input[1], ())[:2]) != [groups, 1]:
            names.add(node.name)
    return names


class _Batch(ortq.CalibrationDataReader):
    """Feeds one batch of calibration pixels."""

    def __init__(self, pixels: NDArray[np.float32]) -> None:
        self._waiting: NDArray[np.float32] | None = pixels

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        part, self._waiting = self._waiting, None
        return None if part is None else {IMAGE_INPUT: part}
