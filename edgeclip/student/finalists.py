"""A prediction proposes, a measurement disposes: the finalists' own graphs are timed before anything is trained."""

from __future__ import annotations

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

BuildGraph = Callable[[StudentSpec], Path]


def measure_finalists(
    specs: Sequence[StudentSpec], profile: Profile, budget: Budget, build_graph: BuildGraph, *, seconds: float = 3
) -> list[StudentSpec]:
    """Time each finalist beside the profile's reference graph; return those that fit, in the order given.

    Args:
        specs: as :func:`~edgeclip.student.select.select` ranked them.
        profile: of this very device: what is measured is scaled by its reference, as predictions are.
        budget: its latency, a p90 of one image, is what must be met.
        build_graph: writes the untrained image tower of a spec, in the spec's precision, and returns the ONNX file.
        seconds: time for each finalist.

    Returns:
        The specs whose measured p50, times the profile's p90 / p50, is within the budget, with ``measured_ms`` filled.

    Raises:
        BudgetError: none of them fits after all.
    """
    measured = []
    with Kit() as kit, progress_bar("finalists", len(specs)) as bar:
        reference = kit.open(kit.reference, profile.runtime.threads)
        for spec in specs:
            run = _one_image(build_graph(spec), spec, profile.runtime.threads)
            found = interleaved({"reference": reference, "own": run}, seconds=seconds)
            relative = found["own"].p50 / found["reference"].p50
            measured.append(spec.model_copy(update={"measured_ms": relative * profile.reference.p50_ms}))
            bar.note(f"{spec.name} {measured[-1].measured_ms:.2f} ms")
            bar.advance()
    fitting = [spec for spec in measured if _fits(spec, profile, budget)]
    if not fitting:
        best = min(measured, key=lambda spec: spec.measured_ms or 0)
        raise BudgetError(
            f"none of the {len(measured)} finalists fits {budget.latency_ms:g} ms when measured; the fastest takes "
            f"{best.measured_ms:.3g} ms at p50 ({best.name}, {best.precision}): ask for more finalists or more time"
        )
    return fitting


def _one_image(graph: Path, spec: StudentSpec, threads: int) -> Callable[[], object]:
    session = make_session(graph, threads=threads, precision=spec.precision)
    size = spec.image_size
    feed = {INPUT: np.random.default_rng(0).standard_normal((1, 3, size, size), dtype=np.float32)}
    return lambda: session.run(None, feed)


def _fits(spec: StudentSpec, profile: Profile, budget: Budget) -> bool:
    if budget.latency_ms is None or spec.measured_ms is None:
        return True
    return spec.measured_ms * tail(profile, spec.precision) <= budget.latency_ms
