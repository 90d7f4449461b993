"""Open an ONNX graph in onnxruntime, with the settings that this project's measurements rest on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import EdgeclipError
from ..cores import usable_cores

if TYPE_CHECKING:
    import onnxruntime as ort

CPU = "CPUExecutionProvider"


def make_session(
    graph: Path | bytes,
    *,
    threads: int | None = None,
    precision: str = "fp32",
    provider: str = CPU,
    as_written: bool = False,
    **options: Any,
) -> ort.InferenceSession:
    """Open ``graph`` on ``provider`` with ``threads`` CPU threads (all that are usable when None).

    ``as_written`` runs every node as the graph has it, quantised values in float: what int8 gives on any device, where
    this CPU's own int8 kernels may differ (without VNNI, sums of 8-bit products saturate).
    ``options`` are set on the SessionOptions (``enable_profiling=True``, ...).

    Raises:
        EdgeclipError: the provider is not in this onnxruntime, or the graph cannot be loaded.
    """
    import onnxruntime as ort

    if provider not in ort.get_available_providers():
        there = ", ".join(ort.get_available_providers())
        raise EdgeclipError(f"this onnxruntime has no {provider}; it has {there}")
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads or usable_cores()
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    # Else a session's idle threads keep a core busy for milliseconds after a run, and the next session's run pays: two
    # sessions in turns were measured at 3.5 times what each takes alone. Alone, this costs nothing that was measurable.
    settings.add_session_config_entry("session.force_spinning_stop", "1")
    if as_written:
        settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    for name, value in options.items():
        setattr(settings, name, value)
    # A fully optimised fp16 ViT takes the whole process down in the NCHWc layout pass (seen in 1.24, 1.30 and 1.32).
    disabled = ["NchwcTransformer"] if precision == "fp16" and provider == CPU else None
    source = graph if isinstance(graph, bytes) else str(graph)
    try:
        return ort.InferenceSession(source, settings, providers=[provider], disabled_optimizers=disabled)
    except Exception as error:  # onnxruntime's exceptions share no base class but Exception
        if type(error).__module__.split(".")[0] != "onnxruntime":
            raise
        where = "the graph" if isinstance(graph, bytes) else graph
        raise EdgeclipError(f"{where}: onnxruntime cannot open it ({str(error).splitlines()[0]})") from error
