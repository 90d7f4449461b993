"""TensorRT engines from a bundle's graphs: on the device for its own GPU, or with TensorRT-RTX for one that is absent.

Precision lives in the graph (fp16 casts, symmetric Q/DQ) and the network is strongly typed, which serves TensorRT 10.x,
11.x and TensorRT-RTX alike: see https://docs.nvidia.com/deeplearning/tensorrt/ on migrating from 10.x to 11.x.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..console import say
from ..errors import EdgeclipError, FormatError
from ..files import sha256, write_bytes, write_json
from .graphs import IMAGE_INPUT
from .tune import Precision

if TYPE_CHECKING:
    import tensorrt

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgeclip" / "tensorrt"
PRODUCTS = ("MATRIX_MULTIPLY", "CONVOLUTION")


@dataclass(frozen=True)
class Build:
    """How engines are built.

    Args:
        target_gpu: ``sm86``, ``sm89``, …: a GPU that need not be here (TensorRT-RTX alone); None: the one that is.
        largest_batch: the profile reaches from 1 to this; it is tuned for 1.
        workspace_mb: GPU memory that the layers may use beside weights and activations.
        version_compatible: also for later TensorRT of the same major version; somewhat slower.
        hardware_compatible: also for other GPUs from Ampere on; somewhat slower.
    """

    target_gpu: str | None = None
    largest_batch: int = 32
    workspace_mb: int = 1024
    version_compatible: bool = False
    hardware_compatible: bool = False


@dataclass(frozen=True)
class Engine:
    """An engine's file, and what it is bound to."""

    file: Path
    precision: Precision
    facts: dict[str, Any]


def build_engines(graphs: Mapping[Precision, Path], folder: Path, size: int, build: Build) -> list[Engine]:
    """Build an engine from each graph, into ``folder``.

    Args:
        graphs: precision -> an image tower in it; int8 must be symmetric (the ``tensorrt`` recipe).
        folder: where ``engine.<precision>.<gpu>.plan`` and its layer report go.
        size: side of the tower's input, pixels.
        build: how.

    Raises:
        MissingExtra: no TensorRT is installed.
        EdgeclipError: no GPU is here and none was named, or TensorRT refuses a graph.
    """
    gpu = _gpu(build)
    engines = []
    for precision, graph in graphs.items():
        say(f"building the {precision} engine for {gpu['compute']}")
        engines.append(_build(graph, precision, folder, size, build, gpu))
    return engines


def parse(graph: Path) -> tuple[tensorrt.Builder, tensorrt.INetworkDefinition]:
    """Read a graph into a strongly typed network.

    Raises:
        FormatError: TensorRT cannot read it; the text says what it stumbled over.
    """
    from ..runtime.engines.trt import LOG, NAME, VERSION, trt

    builder = trt.Builder(LOG)
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)  # 11.x knows no other kind
    network = builder.create_network(0 if flag is None else 1 << int(flag))
    parser = trt.OnnxParser(network, LOG)
    if not parser.parse(graph.read_bytes()):
        told = parser.get_error(0).desc() if parser.num_errors else LOG.last()
        hint = "its int8 is asymmetric: export with --target tensorrt" if "zero" in told else "export it again"
        raise FormatError(f"{graph}: {NAME} {VERSION} cannot read it ({' '.join(told.split())[:200]}): {hint}")
    if network.num_inputs != 1 or network.get_input(0).name != IMAGE_INPUT:
        raise FormatError(f"{graph}: not an image tower of ours: its input is not {IMAGE_INPUT}")
    return builder, network


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


def trtexec(graph: str, plan: str, size: int, build: Build, version: str, *, rtx: bool) -> str:
    """The command line that builds the same engine with NVIDIA's own tool."""
    words = ["tensorrt_rtx" if rtx else "trtexec", f"--onnx={graph}", f"--saveEngine={plan}"]
    words += ["--stronglyTyped"] if not rtx and version.startswith("10.") else []
    for flag, batch in (("min", 1), ("opt", 1), ("max", build.largest_batch)):
        words.append(f"--{flag}Shapes={IMAGE_INPUT}:{batch}x3x{size}x{size}")
    words += [f"--memPoolSize=workspace:{build.workspace_mb}", "--profilingVerbosity=detailed"]
    words += ["--versionCompatible"] if build.version_compatible else []
    words += ["--hardwareCompatibilityLevel=ampere+"] if build.hardware_compatible else []
    words += [f"--computeCapabilities={_dotted(build.target_gpu)}"] if build.target_gpu else []
    return shlex.join(words)


def _gpu(build: Build) -> dict[str, Any]:
    """The GPU that engines are for: the one named, or the one that is here."""
    from ..runtime.engines.trt import NAME, RTX, trt

    if build.target_gpu is None:
        from ..runtime.engines.cuda import Cuda

        try:
            return dict(Cuda().gpu())
        except EdgeclipError as error:
            raise EdgeclipError(f"{error}; to build with none here, name one: --target-gpu sm89") from error
    if not RTX:
        raise EdgeclipError(
            f"{NAME} builds for the GPU that is here alone: leave --target-gpu out, or pip install "
            "'edgeclip[tensorrt-rtx]' where no other TensorRT is installed"
        )
    known = [name for name in dir(_rtx(trt).ComputeCapability) if name.startswith("SM")]
    if build.target_gpu.upper() not in known:
        raise EdgeclipError(f"--target-gpu {build.target_gpu}: TensorRT-RTX knows {', '.join(known).lower()}")
    return {"gpu": None, "compute": build.target_gpu.lower()}


def _build(graph: Path, precision: Precision, folder: Path, size: int, build: Build, gpu: dict[str, Any]) -> Engine:
    from ..runtime.engines.trt import LOG, NAME, RTX, SYSTEM, VERSION, trt

    builder, network = parse(graph)
    types = layer_types(network)
    check_precision(types, precision, graph.name)
    bound = {**gpu, "system": SYSTEM, "tensorrt": f"{NAME} {VERSION}"}
    key = hashlib.sha256(json.dumps([sha256(graph), bound, vars(build)], sort_keys=True).encode()).hexdigest()
    config = _config(builder, network, size, build)
    cache = None if RTX else _timing_cache(config, CACHE / f"{key}.timing")  # TensorRT-RTX tunes where it runs
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EdgeclipError(f"{graph.name}: {NAME} {VERSION} cannot build it for {gpu['compute']} ({LOG.last()})")
    file = folder / f"engine.{precision}.{gpu['compute']}.plan"
    write_bytes(file, bytes(plan))
    if cache is not None:
        write_bytes(CACHE / f"{key}.timing", bytes(cache.serialize()))
    facts = bound | {
        "batch": [1, build.largest_batch],
        "graph": graph.name,
        "layer_types": types,
        "version_compatible": build.version_compatible,
        "hardware_compatible": build.hardware_compatible,
        "trtexec": trtexec(graph.name, file.name, size, build, VERSION, rtx=RTX),
    }
    if gpu["gpu"] is not None:  # what TensorRT made of the layers can be read where the GPU is
        layers = inspect(bytes(plan), trt)
        write_json(file.with_suffix(".layers.json"), layers)
        facts["inspected"] = inspected_types(layers)
    return Engine(file, precision, facts)


def _config(
    builder: tensorrt.Builder, network: tensorrt.INetworkDefinition, size: int, build: Build
) -> tensorrt.IBuilderConfig:
    from ..runtime.engines.trt import trt

    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, build.workspace_mb << 20)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if build.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if build.hardware_compatible:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if build.target_gpu:
        rtx: Any = config  # these two are TensorRT-RTX's own
        rtx.num_compute_capabilities = 1
        rtx.set_compute_capability(getattr(_rtx(trt).ComputeCapability, build.target_gpu.upper()), 0)
    profile = builder.create_optimization_profile()
    one, most = trt.Dims([1, 3, size, size]), trt.Dims([build.largest_batch, 3, size, size])
    profile.set_shape(IMAGE_INPUT, one, one, most)
    config.add_optimization_profile(profile)
    return config


def _timing_cache(config: tensorrt.IBuilderConfig, file: Path) -> tensorrt.ITimingCache:
    """What this GPU was timed at before, so that the next build of the same graph takes seconds."""
    held = b""
    with contextlib.suppress(OSError):
        held = file.read_bytes()
    cache = config.create_timing_cache(held)
    config.set_timing_cache(cache, False)
    return cache


def inspect(plan: bytes, trt: Any) -> list[dict[str, Any]]:
    """What the engine inspector says of each layer; needs the GPU that the engine was built for."""
    from ..runtime.engines.trt import LOG

    engine = trt.Runtime(LOG).deserialize_cuda_engine(plan)
    if engine is None:
        raise EdgeclipError(f"the engine that was just built cannot be opened ({LOG.last()})")
    told = json.loads(engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON))
    return [layer if isinstance(layer, dict) else {"Name": layer} for layer in told["Layers"]]


def inspected_types(layers: list[dict[str, Any]]) -> dict[str, int]:
    """How many layers give out each type: ``Half`` -> 40. 10.x says ``Format/Datatype``, 11.x ``DataType``."""
    counts: dict[str, int] = {}
    for layer in layers:
        for output in layer.get("Outputs", ())[:1]:
            told = str(output.get("DataType") or output.get("Format/Datatype", "unknown"))
            found = re.search(r"Float|Half|Int8|FP8|BF16|FP16|FP32|INT8", told)
            word = found[0] if found else "other"
            counts[word] = counts.get(word, 0) + 1
    return counts


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


def _rtx(trt: Any) -> Any:
    """The module as one whose stubs know nothing of TensorRT-RTX."""
    return trt


def _dotted(gpu: str | None) -> str:
    """``sm89`` -> ``8.9``, ``sm120`` -> ``12.0``."""
    digits = (gpu or "").lower().removeprefix("sm")
    return f"{digits[:-1]}.{digits[-1:]}"
