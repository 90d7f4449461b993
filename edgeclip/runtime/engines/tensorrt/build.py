"""From a graph to an engine's bytes: a strongly typed network computes in what the graph says, on any TensorRT."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....base.console import Bar, progress_bar, say
from ....base.errors import EdgeclipError, FormatError
from ....base.files import sha256, write_bytes
from ....base.folders import cache_folder
from ....base.interrupts import aside
from . import library as here
from .config import EngineConfig
from .cuda import Cuda

if TYPE_CHECKING:
    import tensorrt

GRAPH_HINT = "export it again"


def parse(graph: Path) -> tuple[tensorrt.Builder, tensorrt.INetworkDefinition]:
    """Read a graph into a strongly typed network.

    Raises:
        FormatError: TensorRT cannot read it; the text says which node it stumbled over.
    """
    trt = here.trt
    builder = trt.Builder(here.LOG)
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)  # 11.x knows no other kind
    network = builder.create_network(0 if flag is None else 1 << int(flag))
    parser = trt.OnnxParser(network, here.LOG)
    if not parser.parse(graph.read_bytes(), str(graph)):  # the path, for weights that lie beside it
        raise FormatError(f"{graph}: {here.NAME} {here.VERSION} cannot read it ({_refusal(parser)})")
    if network.num_inputs != 1:
        raise FormatError(f"{graph}: {network.num_inputs} inputs, where an image tower has one: {GRAPH_HINT}")
    return builder, network


def _refusal(parser: tensorrt.OnnxParser) -> str:
    """What the parser says, the node it says it of, and how to mend it."""
    if not parser.num_errors:
        return f"{here.LOG.last()}: {GRAPH_HINT}"
    error = parser.get_error(0)
    reason = " ".join(error.desc().split())[:200]
    names = (getattr(error, name, lambda: "")() for name in ("node_name", "node_operator"))
    node, operator = (str(name or "") for name in names)
    where = f"node {node} ({operator}): " if node else ""
    hint = "its int8 is asymmetric, export with --recipe tensorrt" if "zero" in reason else GRAPH_HINT
    return f"{where}{reason}: {hint}"


def bound_to(build: EngineConfig) -> dict[str, Any]:
    """What an engine is bound to: ``gpu`` (None where it is absent), ``compute``, ``system``, ``tensorrt``.

    Raises:
        EdgeclipError: no GPU is here and none was named, or this TensorRT does not know it.
    """
    binding = {"system": here.SYSTEM, "tensorrt": f"{here.NAME} {here.VERSION}"}
    if build.target_gpu is None:
        try:
            gpu = Cuda().gpu()
        except EdgeclipError as error:
            raise EdgeclipError(f"{error}; to build with none here, name one: --target-gpu sm89") from error
        if here.RTX and not _known(gpu["compute"]):
            raise EdgeclipError(
                f"{here.NAME} {here.VERSION} does not run on this GPU ({gpu['gpu']}, {gpu['compute']}): install "
                "TensorRT in its place, pip install 'edgeclip[tensorrt]', or use onnxruntime"
            )
        return {**gpu, **binding}
    if not here.RTX:
        raise EdgeclipError(
            f"{here.NAME} builds for the GPU that is here alone: leave --target-gpu out, or pip install "
            "'edgeclip[tensorrt-rtx]' where no other TensorRT is installed"
        )
    if not _known(build.target_gpu):
        there = ", ".join(capabilities()).lower()
        raise EdgeclipError(f"--target-gpu {build.target_gpu}: {here.NAME} knows {there}")
    return {"gpu": None, "compute": build.target_gpu.lower(), **binding}


def capabilities() -> list[str]:
    """The compute capabilities that TensorRT-RTX builds for: ``SM86``, …"""
    return [name for name in dir(_rtx().ComputeCapability) if name.startswith("SM")]


def _known(gpu: str) -> bool:
    return gpu.upper() in capabilities()


def serialise(
    builder: tensorrt.Builder,
    network: tensorrt.INetworkDefinition,
    build: EngineConfig,
    bound: dict[str, Any],
    graph: Path,
) -> bytes:
    """Build the engine, with a progress bar; what this GPU was timed at before is used again.

    Raises:
        EdgeclipError: TensorRT cannot; the text says why.
    """
    key = cache_key(graph, build, bound)
    config = configure(builder, network, build)
    file = cache_folder() / "engines" / f"{key}.timing"
    cache = None if here.RTX else _timing_cache(config, file)  # TensorRT-RTX tunes where it runs
    with progress_bar(f"engine for {bound['compute']}", 100, unit="%") as bar:
        monitor = _monitor(bar)
        config.progress_monitor = monitor
        try:
            plan = aside(lambda: builder.build_serialized_network(network, config))
        except KeyboardInterrupt:
            monitor.stopped = True
            raise
    if plan is None:
        reason = here.LOG.last()
        short = "memory" in reason.lower() or "workspace" in reason.lower()
        hint = "give more --workspace-mb" if short else "export it at another --opset, or leave this precision out"
        raise EdgeclipError(f"{graph.name}: {here.NAME} cannot build it for {bound['compute']} ({reason}): {hint}")
    if cache is not None:
        write_bytes(file, bytes(cache.serialize()))
    return bytes(plan)


def cache_key(graph: Path, build: EngineConfig, bound: dict[str, Any]) -> str:
    """A name of all that an engine depends on."""
    return hashlib.sha256(json.dumps([sha256(graph), bound, vars(build)], sort_keys=True).encode()).hexdigest()


def configure(
    builder: tensorrt.Builder, network: tensorrt.INetworkDefinition, build: EngineConfig
) -> tensorrt.IBuilderConfig:
    """A builder's settings, with a profile for batches from 1 to the largest."""
    trt = here.trt
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, build.workspace_mb << 20)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if build.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if build.hardware_compatible:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if build.dla is not None:
        config.default_device_type, config.DLA_core = trt.DeviceType.DLA, build.dla
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
    if build.target_gpu:
        rtx: Any = config  # these two are TensorRT-RTX's own
        rtx.num_compute_capabilities = 1
        rtx.set_compute_capability(getattr(_rtx().ComputeCapability, build.target_gpu.upper()), 0)
    entry = network.get_input(0)
    shape = [int(entry.shape[axis]) for axis in range(len(entry.shape))]
    if shape[0] == -1:
        profile = builder.create_optimization_profile()
        least, most = trt.Dims([1, *shape[1:]]), trt.Dims([build.largest_batch, *shape[1:]])
        profile.set_shape(entry.name, least, least, most)
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


def _monitor(bar: Bar) -> Any:
    """TensorRT's progress as a bar's."""

    class Monitor(here.trt.IProgressMonitor):  # type: ignore[misc, name-defined]
        """Phases lie within phases: a step of one is the whole of those within it."""

        def __init__(self) -> None:
            here.trt.IProgressMonitor.__init__(self)
            self.stopped = False
            self._within: dict[str, tuple[str | None, int, int]] = {}  # phase -> the one around it, steps, steps done
            self._shown = 0.0

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            """A phase begins."""
            self._within[phase_name] = (parent_phase, max(1, num_steps), 0)
            bar.note(phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            """A step of it is done; False ends the build."""
            around, steps, _ = self._within[phase_name]
            self._within[phase_name] = (around, steps, step + 1)
            self._show()
            return not self.stopped

        def phase_finish(self, phase_name: str) -> None:
            """All of it is done."""
            self._within.pop(phase_name, None)

        def _show(self) -> None:
            done = max((self._share(name) for name, (around, *_) in self._within.items() if not around), default=0.0)
            if done > self._shown:
                bar.advance(round(100 * done) - round(100 * self._shown))
                self._shown = done

        def _share(self, phase: str) -> float:
            _, steps, done = self._within[phase]
            inner = (self._share(name) for name, (around, *_) in self._within.items() if around == phase)
            return min(1.0, (done + max(inner, default=0.0)) / steps)

    return Monitor()


def _rtx() -> Any:
    """The module as one whose stubs know nothing of TensorRT-RTX."""
    return here.trt


def kept_plan(graph: Path, build: EngineConfig, bound: dict[str, Any], make: Callable[[], bytes]) -> bytes:
    """The engine of this graph for this GPU from the user's cache; made, and kept there, where it is not yet.

    A file that was damaged is made anew: the digest before its bytes says so before TensorRT sees them.
    """
    file = cache_folder() / "engines" / f"{cache_key(graph, build, bound)}.plan"
    with contextlib.suppress(OSError):
        content = file.read_bytes()
        if hashlib.sha256(content[32:]).digest() == content[:32]:
            return content[32:]
        say(f"{file} is damaged: rebuilding it")
    plan = make()
    write_bytes(file, hashlib.sha256(plan).digest() + plan)
    return plan
