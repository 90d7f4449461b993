"""A prediction proposes, a measurement disposes: finalists' own graphs are timed before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.console import progress_bar, say
from ..base.errors import BudgetError
from ..base.scratch import scratch_folder
from ..device.facts import why_elsewhere
from ..profiling.costmodel import tail
from ..profiling.probekit import Kit
from ..profiling.schema import Budget, Profile
from ..runtime.engines.registry import find_engine
from ..runtime.timing import interleaved
from ..towers.spec import StudentSpec

SECONDS = 2.0  # for each
ROUNDS = 3  # of finalists
MORE = 1.05  # a little less than what just missed
WriteGraph = Callable[[StudentSpec, Path], None]  # writes a spec's untrained image tower, in its precision, as ONNX


def why_unmeasured(profile: Profile) -> str | None:
    """Why finalists cannot be measured here for ``profile``; None where they can."""
    if why := why_elsewhere(profile.target):
        return f"profile {profile.name}: {why}; edgeclip profile {profile.name} --out FILE measures this device"
    if not (find_spec("torch") and find_spec("onnx")):
        return "students are built with torch and onnx: pip install 'edgeclip[distill]'"
    return None


def confirm(
    propose: Callable[[Budget], Sequence[StudentSpec]], profile: Profile, budget: Budget, write_graph: WriteGraph
) -> list[StudentSpec]:
    """The best student that meets the latency budget when it is timed here, and after it what was ranked below it.

    Where every finalist turns out slower than the budget allows, the cost model errs here by at least so much: what it
    predicts is then held against a budget that is less by that, and other finalists are measured.

    Args:
        propose: the finalists for a budget, best first.
        profile: of this very device: what is measured is scaled by its reference, as predictions are.
        budget: its latency, a p90 of one image, is what must be met.
        write_graph: builds what is measured.

    Raises:
        BudgetError: nothing fits, by prediction or by measurement.
    """
    aim = budget
    for left in reversed(range(ROUNDS)):
        specs = list(propose(aim))
        try:
            chosen, place = first_that_fits(specs, profile, budget, write_graph)
        except BudgetError as error:
            if not left or aim.latency_ms is None or error.over is None:
                raise
            say(f"every candidate exceeds the budget, by {error.over - 1:.0%} or more: timing faster ones")
            aim = aim.model_copy(update={"latency_ms": aim.latency_ms / error.over / MORE})
        else:
            return [chosen, *specs[place + 1 :]]
    raise AssertionError("the last round returns or raises")


def first_that_fits(
    specs: Sequence[StudentSpec], profile: Profile, budget: Budget, write_graph: WriteGraph
) -> tuple[StudentSpec, int]:
    """Time finalists in the order given, until one fits.

    Returns:
        The first spec whose measured p50, times the profile's p90 / p50, is within the budget, with ``measured_ms``;
        and its place in ``specs``.

    Raises:
        BudgetError: none of them fits after all; ``over`` says by how much the nearest missed.
    """
    measured: list[StudentSpec] = []
    for spec in timed(specs, profile, write_graph):
        measured.append(spec)
        if _fits(spec, profile, budget):
            return spec, len(measured) - 1
    raise _none_fits(measured, profile, budget)


def all_that_fit(
    specs: Sequence[StudentSpec], profile: Profile, budget: Budget, write_graph: WriteGraph
) -> list[StudentSpec]:
    """Time all finalists; those that fit, in the order given, with ``measured_ms``.

    Raises:
        BudgetError: as :func:`first_that_fits`.
    """
    measured = list(timed(specs, profile, write_graph))
    fitting = [spec for spec in measured if _fits(spec, profile, budget)]
    if not fitting:
        raise _none_fits(measured, profile, budget)
    return fitting


def timed(specs: Sequence[StudentSpec], profile: Profile, write_graph: WriteGraph) -> Iterator[StudentSpec]:
    """Each finalist with ``measured_ms``: beside the profile's reference graph, and scaled by it as predictions are."""
    with Kit() as kit, progress_bar("measure finalists", len(specs)) as bar, scratch_folder() as folder:
        engine = find_engine(profile.runtime.name)
        settings: dict[str, Any] = {"threads": profile.runtime.threads, "provider": profile.runtime.provider}
        reference = kit.open(kit.reference, engine, **settings)
        for place, spec in enumerate(specs):
            graph = Path(folder) / f"{place}.onnx"
            write_graph(spec, graph)
            session = engine.open(graph, precision=spec.precision, **settings)
            student = partial(session.run, _one_image(spec.image_size))
            times = interleaved({"reference": reference, "own": student}, seconds=SECONDS)
            ms = times["own"].p50 / times["reference"].p50 * profile.reference.p50_ms
            bar.advance()
            try:
                yield spec.model_copy(update={"measured_ms": ms})
            except GeneratorExit:  # this one fits
                bar.enough()
                raise


def _fits(spec: StudentSpec, profile: Profile, budget: Budget) -> bool:
    assert spec.measured_ms is not None  # it was timed
    if budget.latency_ms is None or spec.measured_ms * tail(profile, spec.precision) <= budget.latency_ms:
        return True
    predicted = f"{spec.predicted_ms:.2f} predicted" if spec.predicted_ms else "not predicted"
    say(f"{spec.name}, {spec.precision}: {spec.measured_ms:.2f} ms measured, {predicted}: too slow")
    return False


def _none_fits(measured: Sequence[StudentSpec], profile: Profile, budget: Budget) -> BudgetError:
    best = min(measured, key=lambda spec: spec.measured_ms or 0)
    return BudgetError(
        f"all {len(measured)} timed candidates exceed {budget.latency_ms:g} ms; the fastest takes "
        f"{best.measured_ms:.3g} ms at p50 ({best.name}, {best.precision}): raise the budget, or profile again",
        over=min((s.measured_ms or 0) * tail(profile, s.precision) for s in measured) / (budget.latency_ms or 1),
    )


def _one_image(size: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((1, 3, size, size), dtype=np.float32)
