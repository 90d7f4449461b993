"""TensorRT and TensorRT-RTX as engines: a graph becomes an engine of this GPU, once, and is run by it.

An engine that lies in the graph's bundle is used where it fits this GPU, system and TensorRT; else one is built, and
kept in the user's cache.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ....base.console import say
from ....base.errors import EdgeclipError, FormatError
from ....base.scratch import scratch_folder
from ..protocol import HotSpots, OperatorShare
from .config import EngineConfig

if TYPE_CHECKING:
    from .runner import EngineRunner

PROVIDER, RECIPE = "CUDA", "tensorrt"
WORDS = {"fp32": ("Float", "FP32"), "fp16": ("Half", "FP16"), "int8": ("Int8", "INT8")}  # as inspectors say it


class TensorRT:
    """An :class:`~edgeclip.runtime.engines.protocol.Engine`."""

    provider, accelerator = PROVIDER, True

    def __init__(self, name: str, *, rtx: bool) -> None:
        self.name, self._rtx = name, rtx

    def unavailable(self) -> str | None:
        """Where no GPU is, or another TensorRT or none is installed."""
        try:
            from . import library as here
            from .cuda import count_gpus

            count_gpus()
        except EdgeclipError as error:
            return str(error)
        if self._rtx != here.RTX:
            other = "tensorrt-rtx" if here.RTX else "tensorrt"
            return f"{here.NAME} is what is installed here: ask for the engine {other}"
        return None

    def version(self) -> str:
        """Of the package that is here."""
        from . import library as here

        return here.VERSION

    def providers(self) -> Sequence[str]:
        """The current GPU."""
        return (PROVIDER,)

    def precisions(self, provider: str) -> Sequence[str]:
        """All: the network is typed by its graph."""
        return ("fp32", "fp16", "int8")

    def recipe(self, precision: str, features: Sequence[str]) -> str:
        """Whatever the CPU is: int8 is symmetric, its biases and its rest are float."""
        return RECIPE if precision == "int8" else precision

    def reads(self, recipe: str) -> bool:
        """Its own int8 alone: its parser refuses zero points."""
        return recipe in ("fp32", "fp16", RECIPE)

    def open(
        self,
        graph: Path | bytes,
        *,
        precision: str = "fp32",
        threads: int | None = None,
        provider: str | None = None,
        as_written: bool = False,
    ) -> EngineRunner:
        """See the protocol. ``threads`` are a CPU's affair; int8 computes as it is written.

        Raises:
            EdgeclipError: another provider is asked for, or TensorRT cannot read or build the graph.
            FormatError: an engine in the bundle is not what its manifest says.
        """
        from .runner import EngineRunner

        if provider not in (None, PROVIDER):
            raise EdgeclipError(f"{self.name} runs on {PROVIDER} alone, not on {provider}: leave --provider out")
        if isinstance(graph, bytes):
            with scratch_folder() as folder:
                file = Path(folder) / "graph.onnx"
                file.write_bytes(graph)
                return EngineRunner(self._plan(file, precision), name=self.name)
        return EngineRunner(self._plan(graph, precision), name=graph.name)

    def hot_spots(
        self, graph: Path, rows: NDArray[Any], *, runs: int, precision: str, threads: int | None, provider: str | None
    ) -> HotSpots:
        """From its profiler's time of each layer, and what its inspector says of the layer's precision.

        ``fell_back`` names the layers that compute in another precision than asked, with their share of the time.
        """
        with self.open(graph, precision=precision, provider=provider) as runner:
            layers = {str(layer.get("Name")): layer for layer in runner.layers()}
            spent = runner.layer_times(rows, runs)
        return _shares(spent, layers, precision)

    def _plan(self, graph: Path, precision: str) -> bytes:
        """The engine's bytes: of the bundle, of the cache, or built now."""
        from .build import bound_to, kept_plan, parse, serialise

        build = EngineConfig()
        bound = bound_to(build)
        if plan := plan_beside(graph, precision, bound):
            return plan

        def make() -> bytes:
            builder, network = parse(graph)
            return serialise(builder, network, build, bound, graph)

        return kept_plan(graph, build, bound, make)


TENSORRT, TENSORRT_RTX = TensorRT("tensorrt", rtx=False), TensorRT("tensorrt-rtx", rtx=True)


def plan_beside(graph: Path, precision: str, bound: Mapping[str, Any]) -> bytes | None:
    """The engine that a bundle holds of this graph, where one fits what is here; why not is said.

    Args:
        graph: a graph in a bundle's folder.
        precision: its own.
        bound: what an engine must be bound to: see :func:`edgeclip.runtime.engines.tensorrt.build.bound_to`.

    Raises:
        FormatError: it is not the file that the manifest vouches for.
    """
    try:
        extras = json.loads((graph.parent / "bundle.json").read_text(encoding="utf-8"))["extras"]
        plans = [entry for entry in extras if entry["kind"] == "engine" and entry["facts"].get("graph") == graph.name]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # no bundle, or none with engines
    plans = [entry for entry in plans if entry["precision"] == precision]
    reasons = [misfit(entry["facts"], bound) for entry in plans]
    for entry, reason in zip(plans, reasons, strict=True):
        if reason is None:
            content = (graph.parent / Path(entry["file"]).name).read_bytes()
            if hashlib.sha256(content).hexdigest() != entry["sha256"]:
                raise FormatError(
                    f"{graph.parent}: {entry['file']} was changed after it was built: export or copy it again"
                )
            return content
    for entry, reason in zip(plans, reasons, strict=True):
        say(f"{entry['file']} was built for {reason}: one is built for this machine")
    return None


def misfit(built: Mapping[str, Any], bound: Mapping[str, Any]) -> str | None:
    """What an engine was built for and what is here, where these differ; TensorRT would say it in its own words."""
    differ = [] if built.get("hardware_compatible") or built.get("compute") == bound["compute"] else ["compute"]
    differ += [] if built.get("system") == bound["system"] else ["system"]
    same = built.get("tensorrt") == bound["tensorrt"]
    if not same and not (built.get("version_compatible") and _major(built) == _major(bound)):
        differ.append("tensorrt")
    if not differ:
        return None
    was, now = (", ".join(str(facts.get(key)) for key in differ) for facts in (built, bound))
    return f"{was}; here is {now}"


def _major(facts: Mapping[str, Any]) -> str:
    """``TensorRT 10.3.0`` -> ``TensorRT 10``."""
    return str(facts.get("tensorrt")).partition(".")[0]


def _shares(spent: Mapping[str, float], layers: Mapping[str, Mapping[str, Any]], precision: str) -> HotSpots:
    """Layers' times by kind and precision, and the layers in another precision than asked."""
    total = sum(spent.values()) or 1.0
    kinds: dict[str, list[float]] = defaultdict(list)
    other = []
    for name, took in spent.items():
        layer = layers.get(name, {})
        computes = layer_precision(layer)
        kinds[f"{layer.get('LayerType', 'layer')} {computes or ''}".strip()].append(took)
        if computes and computes not in WORDS[precision]:
            other.append((took, f"{name} in {computes}, {took / total:.1%} of the time"))
    ranked = sorted(kinds, key=lambda kind: -sum(kinds[kind]))
    return HotSpots(
        operators=[OperatorShare(kind, sum(kinds[kind]) / total, len(kinds[kind])) for kind in ranked],
        fell_back=[words for _, words in sorted(other, reverse=True)],
        on_provider=1.0,  # an engine is whole
    )


def layer_precision(layer: Mapping[str, Any]) -> str | None:
    """What a layer computes in, by its first input, or its first output: ``Half``, ``INT8``, …; None: it is not told.

    10.x says ``Format/Datatype``, 11.x and TensorRT-RTX ``DataType``.
    """
    for side in ("Inputs", "Outputs"):
        for tensor in layer.get(side, ())[:1]:
            type_name = str(tensor.get("DataType") or tensor.get("Format/Datatype", ""))
            if match := re.search(r"Float|Half|Int8|FP8|BF16|FP16|FP32|INT8", type_name):
                return match[0]
    return None
