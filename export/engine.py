"""TensorRT engines from a bundle's graphs: on the device for its own GPU, or with TensorRT-RTX for one that is absent.

Precision lives in the graph (fp16 casts, symmetric Q/DQ) and the network is strongly typed, which serves TensorRT 10.x,
11.x and TensorRT-RTX alike: see https://docs.nvidia.com/deeplearning/tensorrt/ on migrating from 10.x to 11.x.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.console import say
from ..base.errors import EdgeclipError, FormatError
from ..base.files import write_bytes
from ..runtime.engines.tensorrt.config import EngineConfig
from ..runtime.engines.tensorrt.engine import layer_precision
from .graphs import IMAGE_INPUT
from .tune import Precision

if TYPE_CHECKING:
    import tensorrt

PRODUCTS = ("MATRIX_MULTIPLY", "CONVOLUTION")


@dataclass(frozen=True)
class Engine:
    """An engine's file, and what it is bound to."""

    file: Path
    precision: Precision
    facts: dict[str, Any]


def build_engines(graphs: Mapping[Precision, Path], folder: Path, build: EngineConfig) -> list[Engine]:
    """Build an engine from each graph, into ``folder``.

    Args:
        graphs: precision -> an image tower in it; int8 must be symmetric (the ``tensorrt`` recipe).
        folder: where ``engine.<precision>.<gpu>.plan`` go.
        build: how.

    Raises:
        MissingExtra: no TensorRT is installed.
        EdgeclipError: no GPU is here and none was named, or TensorRT refuses a graph.
    """
    from ..runtime.engines.tensorrt.build import bound_to

    bound = bound_to(build)
    engines = []
    for precision, graph in graphs.items():
        say(f"building the {precision} engine for {bound['compute']}")
        engines.append(_build(graph, precision, folder, build, bound))
    return engines


def layer_types(network: tensorrt.INetworkDefinition) -> dict[str, int]:
    """What the network computes in: ``MATRIX_MULTIPLY HALF`` -> 25, and so on.

    A product between dequantised values counts as INT8: that is how a strongly typed network spells int8.
    """
    made_by = {}
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    for layer in layers:
        for i in range(layer.num_outputs):
            made_by[layer.get_output(i).name] = layer
    counts: dict[str, int] = {}
    for layer in layers:
        kind = _word(layer.type)
        dtype = _word(layer.get_input(0).dtype if layer.num_inputs else layer.get_output(0).dtype)
        if kind in PRODUCTS and _dequantised(layer, made_by):
            dtype = "INT8"
        counts[f"{kind} {dtype}"] = counts.get(f"{kind} {dtype}", 0) + 1
    return counts


def check_precision(types: Mapping[str, int], precision: Precision, name: str) -> None:
    """Refuse a network whose products do not compute in the precision that was asked for.

    Raises:
        EdgeclipError: most of the products with weights compute in another type.
    """
    wanted = {"fp32": "FLOAT", "fp16": "HALF", "int8": "INT8"}[precision]
    products = {key: count for key, count in types.items() if key.split()[0] in PRODUCTS}
    right = sum(count for key, count in products.items() if key.split()[1] == wanted)
    # fp16 keeps in fp32 what overflows; int8 leaves attention's own products, a third of a ViT's, in float.
    every = sum(products.values())
    if right < 0.5 * every:
        raise EdgeclipError(f"{name}: only {right} of {every} products are {precision}: export it again")


def trtexec(graph: str, plan: str, size: int, build: EngineConfig, version: str, *, rtx: bool) -> str:
    """The command line that builds the same engine with NVIDIA's own tool."""
    words = ["tensorrt_rtx" if rtx else "trtexec", f"--onnx={graph}", f"--saveEngine={plan}"]
    words += ["--stronglyTyped"] if not rtx and version.startswith("10.") else []
    for flag, batch in (("min", 1), ("opt", 1), ("max", build.largest_batch)):
        words.append(f"--{flag}Shapes={IMAGE_INPUT}:{batch}x3x{size}x{size}")
    words += [f"--memPoolSize=workspace:{build.workspace_mb}", "--profilingVerbosity=detailed"]
    words += ["--versionCompatible"] if build.version_compatible else []
    words += ["--hardwareCompatibilityLevel=ampere+"] if build.hardware_compatible else []
    words += [f"--useDLACore={build.dla}", "--allowGPUFallback"] if build.dla is not None else []
    words += [f"--computeCapabilities={_dotted(build.target_gpu)}"] if build.target_gpu else []
    return shlex.join(words)


def _build(graph: Path, precision: Precision, folder: Path, build: EngineConfig, bound: dict[str, Any]) -> Engine:
    from ..runtime.engines.tensorrt import library as here
    from ..runtime.engines.tensorrt.build import parse, serialise
    from ..runtime.engines.tensorrt.runner import EngineRunner

    builder, network = parse(graph)
    entry = network.get_input(0)
    if entry.name != IMAGE_INPUT:
        raise FormatError(f"{graph}: not an image tower of ours: its input is not {IMAGE_INPUT}")
    types = layer_types(network)
    check_precision(types, precision, graph.name)
    plan = serialise(builder, network, build, bound, graph)
    file = folder / f"engine.{precision}.{bound['compute']}.plan"
    write_bytes(file, plan)
    facts = bound | {
        "batch": [1, build.largest_batch],
        "graph": graph.name,
        "layer_types": types,
        "version_compatible": build.version_compatible,
        "hardware_compatible": build.hardware_compatible,
        "trtexec": trtexec(graph.name, file.name, int(entry.shape[-1]), build, here.VERSION, rtx=here.RTX),
    }
    if bound["gpu"] is not None:  # what TensorRT made of the layers can be read where the GPU is
        with EngineRunner(plan, name=file.name) as runner:
            facts["inspected"] = inspected_types(runner.layers())
    return Engine(file, precision, facts)


def inspected_types(layers: list[dict[str, Any]]) -> dict[str, int]:
    """How many layers compute in each type: ``Half`` -> 40."""
    return dict(Counter(layer_precision(layer) or "unknown" for layer in layers))


def _dequantised(layer: tensorrt.ILayer, made_by: Mapping[str, tensorrt.ILayer]) -> bool:
    """Whether the values that a product reads come out of DEQUANTIZE layers, but for what moves them about."""
    moves = ("SHUFFLE", "SQUEEZE", "UNSQUEEZE", "CAST", "IDENTITY")
    for i in range(min(2, layer.num_inputs)):
        value = layer.get_input(i)
        source = made_by.get(value.name) if value is not None else None
        while source is not None and _word(source.type) in moves:
            source = made_by.get(source.get_input(0).name)
        if source is None or _word(source.type) != "DEQUANTIZE":
            return False
    return True


def _word(value: object) -> str:
    """``LayerType.CONVOLUTION`` -> ``CONVOLUTION``."""
    return str(value).rpartition(".")[2]


def _dotted(gpu: str | None) -> str:
    """``sm89`` -> ``8.9``, ``sm120`` -> ``12.0``."""
    digits = (gpu or "").lower().removeprefix("sm")
    return f"{digits[:-1]}.{digits[-1:]}"
