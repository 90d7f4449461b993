"""onnxruntime, with the settings that this project's measurements rest on."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...base.errors import EdgeclipError, FormatError
from ...base.scratch import scratch_folder
from ..cores import usable_cores
from .protocol import HotSpots, OperatorShare

if TYPE_CHECKING:
    import onnxruntime as ort

CPU = "CPUExecutionProvider"
OLDEST = "1.20"  # as pyproject.toml has it; bundles say so to devices that have another
TOO_NEW = re.compile(r"model IR version: \d+, max supported IR version: \d+|[Oo]pset \d+ is under development[^.]*")
NO_MEMORY = re.compile(r"bad_?alloc|allocate memory|out of memory", re.IGNORECASE)


class OrtSession:
    """A :class:`~edgeclip.runtime.engines.protocol.Session`."""

    concurrent = True

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        self.providers = session.get_providers()

    @property
    def threads(self) -> int:
        """CPU threads within an operator."""
        return self._session.get_session_options().intra_op_num_threads

    @cached_property
    def _input(self) -> str:
        return self._session.get_inputs()[0].name

    @property
    def outputs(self) -> list[str]:
        """What the graph calls its outputs."""
        return [output.name for output in self._session.get_outputs()]

    def run(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """The first output.

        Raises:
            FormatError: the graph takes no such rows: whoever fed it was told another size.
        """
        try:
            return self._session.run(None, {self._input: rows})[0]
        except Exception as error:  # onnxruntime's own kinds, which it exports nowhere
            _refuse_no_memory(error, f"a batch of {len(rows)}")
            if type(error).__name__ != "InvalidArgument":
                raise
            reason = " ".join(str(error).split())[:300]
            raise FormatError(f"the graph does not take {list(rows.shape)}: is it another's? ({reason})") from error

    def values(self, names: Sequence[str], rows: NDArray[Any]) -> list[NDArray[Any]]:
        """Several outputs by name."""
        return self._session.run(list(names), {self._input: rows})

    def end_profiling(self) -> list[dict[str, Any]]:
        """What was recorded, where the session was opened to record."""
        return json.loads(Path(self._session.end_profiling()).read_text(encoding="utf-8"))


def _refuse_no_memory(error: Exception, what: str) -> None:
    """Tell in a line what onnxruntime says of memory that it did not get.

    Raises:
        EdgeclipError: it says so.
    """
    if NO_MEMORY.search(str(error)):
        raise EdgeclipError(f"{what}: onnxruntime gets too little memory for it: end other programs") from error


class Onnxruntime:
    """An :class:`~edgeclip.runtime.engines.protocol.Engine`."""

    name, provider, accelerator = "onnxruntime", CPU, False

    def unavailable(self) -> str | None:
        """Only where the package is missing."""
        return None if find_spec("onnxruntime") else "pip install onnxruntime"

    def version(self) -> str:
        """The package's, whatever build of it is installed."""
        import onnxruntime

        return onnxruntime.__version__

    def providers(self) -> Sequence[str]:
        """Those that this build of the package has."""
        import onnxruntime

        return onnxruntime.get_available_providers()

    def precisions(self, provider: str) -> Sequence[str]:
        """The CPU provider casts fp16 to fp32 and back."""
        return ("fp32", "int8") if provider == CPU else ("fp32", "fp16", "int8")

    def recipe(self, precision: str, features: Sequence[str]) -> str:
        """int8 by what the CPU multiplies: unsigned by signed bytes with VNNI, 7-bit weights without, signed on Arm."""
        if precision != "int8":
            return precision
        if any("vnni" in feature or "amx_int8" in feature for feature in features):
            return "x86-vnni"
        return "arm" if {"asimd", "asimddp", "neon", "i8mm"}.intersection(features) else "x86"

    def reads(self, recipe: str) -> bool:
        """All of them: what it has no kernels for it computes in float."""
        return True

    def open(
        self,
        graph: Path | bytes,
        *,
        precision: str = "fp32",
        threads: int | None = None,
        provider: str | None = None,
        as_written: bool = False,
        **options: Any,
    ) -> OrtSession:
        """See the protocol. Without VNNI, this engine's sums of 8-bit products saturate: hence ``as_written``.

        ``options`` are set on the SessionOptions (``enable_profiling=True``, ...).
        """
        import onnxruntime as ort

        provider = provider or CPU
        if provider not in self.providers():
            there = ", ".join(self.providers())
            raise EdgeclipError(f"this onnxruntime has no {provider}; it has {there}: name one with --provider")
        settings = ort.SessionOptions()
        settings.intra_op_num_threads = threads or usable_cores()
        settings.inter_op_num_threads = 1
        settings.log_severity_level = 3
        # Else a session's idle threads keep a core busy for milliseconds after a run, and the next session's run pays:
        # two sessions in turns were measured at 3.5 times what each takes alone. Alone, this costs nothing measurable.
        settings.add_session_config_entry("session.force_spinning_stop", "1")
        if as_written:
            settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        for name, value in options.items():
            setattr(settings, name, value)
        # A fully optimised fp16 ViT takes the whole process down in the NCHWc layout pass (seen in 1.24, 1.30, 1.32).
        disabled = ["NchwcTransformer"] if precision == "fp16" and provider == CPU else None
        source = graph if isinstance(graph, bytes) else str(graph)
        try:
            session = ort.InferenceSession(source, settings, providers=[provider], disabled_optimizers=disabled)
        except Exception as error:  # onnxruntime's exceptions share no base class but Exception
            if type(error).__module__.split(".")[0] != "onnxruntime":
                raise
            where = "the graph" if isinstance(graph, bytes) else str(graph)
            _refuse_no_memory(error, where)
            if newer := TOO_NEW.search(str(error)):
                raise EdgeclipError(
                    f"{where}: onnxruntime {self.version()} is too old for it ({newer[0]}): pip install --upgrade"
                    f" onnxruntime (edgeclip needs {OLDEST} or newer)"
                ) from error
            raise EdgeclipError(f"{where}: onnxruntime cannot open it ({str(error).splitlines()[0]})") from error
        return OrtSession(session)

    def hot_spots(
        self, graph: Path, rows: NDArray[Any], *, runs: int, precision: str, threads: int | None, provider: str | None
    ) -> HotSpots:
        """From its own profiler's record of each node's kernel."""
        provider = provider or CPU
        with scratch_folder() as folder:
            record: dict[str, Any] = {"enable_profiling": True, "profile_file_prefix": str(Path(folder) / "profile")}
            session = self.open(graph, precision=precision, threads=threads, provider=provider, **record)
            for _ in range(runs):
                session.run(rows)
            events = session.end_profiling()
        spent: dict[str, float] = defaultdict(float)
        nodes: dict[str, set[str]] = defaultdict(set)
        fell_back: set[str] = set()
        elsewhere = 0.0
        for event in events:
            facts = event.get("args", {})
            if event.get("cat") != "Node" or "op_name" not in facts or not event["name"].endswith("_kernel_time"):
                continue
            spent[facts["op_name"]] += event["dur"]
            nodes[facts["op_name"]].add(event["name"])
            if facts.get("provider", provider) != provider:
                fell_back.add(f"{facts['op_name']} on {facts['provider']}")
                elsewhere += event["dur"]
        total = sum(spent.values()) or 1.0
        ranked = sorted(spent, key=lambda op: -spent[op])
        return HotSpots(
            operators=[OperatorShare(op, spent[op] / total, len(nodes[op])) for op in ranked],
            fell_back=sorted(fell_back),
            on_provider=1 - elsewhere / total,
        )
