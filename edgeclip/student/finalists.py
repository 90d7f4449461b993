"""A prediction proposes, a measurement disposes: finalists' own graphs are timed before anything is trained."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ..console import progress_bar
from ..device.costmodel import tail
from ..device.probekit import INPUT, Kit
from ..device.schema import Budget, Profile
from ..errors import BudgetError
from ..runtime.session import make_session
from ..runtime.timing import interleaved
from .spec import StudentSpec

SECONDS = 2.0  # for each


def best_measured(
    specs: Sequence[StudentSpec], profile: Profile, budget: Budget, write_graph: Callable[[StudentSpec, Path], None]
) -> StudentSpec:
    """Time each finalist beside the profile's reference graph, in the order given, until one fits; return that one.

    Args:
        specs: as :func:`~edgeclip.student.select.select` ranked them.
        profile: of this very device: what is measured is scaled by its reference, as predictions are.
        budget: its latency, a p90 of one image, is what must be met.
        write_graph: writes the untrained image tower of a spec, in the spec's precision, as ONNX.

    Returns:
        The first spec whose measured p50, times the profile's p90 / p50, is within the budget; ``measured_ms`` filled.

    Raises:
        BudgetError: none of them fits after all.
    """
    measured: list[StudentSpec] = []
    with Kit() as kit, progress_bar("measure finalists", len(specs)) as bar, tempfile.TemporaryDirectory() as folder:
        reference = kit.open(kit.reference, profile.runtime.threads)
        for spec in specs:
            graph = Path(folder) / f"{len(measured)}.onnx"
            write_graph(spec, graph)
            runs = {"reference": reference, "own": _one_image(graph, spec, profile.runtime.threads)}
            found = interleaved(runs, seconds=SECONDS)
            ms = found["own"].p50 / found["reference"].p50 * profile.reference.p50_ms
            measured.append(spec.model_copy(update={"measured_ms": ms}))
            bar.note(f"{spec.name} {ms:.2f} ms")
            bar.advance()
            if budget.latency_ms is None or ms * tail(profile, spec.precision) <= budget.latency_ms:
                return measured[-1]
    best = min(measured, key=lambda spec: spec.measured_ms or 0)
    raise BudgetError(
        f"none of the {len(measured)} finalists fits {budget.latency_ms:g} ms when measured; the fastest takes "
        f"{best.measured_ms:.3g} ms at p50 ({best.name}, {best.precision}): raise the budget, or profile anew",
        over=min((s.measured_ms or 0) * tail(profile, s.precision) for s in measured) / (budget.latency_ms or 1),
    )


def _one_image(graph: Path, spec: StudentSpec, threads: int) -> Callable[[], object]:
    session = make_session(graph, threads=threads, precision=spec.precision)
    size = spec.image_size
    feed = {INPUT: np.random.default_rng(0).standard_normal((1, 3, size, size), dtype=np.float32)}
    return lambda: session.run(None, feed)
