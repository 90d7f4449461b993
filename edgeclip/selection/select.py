"""Which students a device can afford: list them all, keep what fits, rank by expected accuracy, show different ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.console import say
from ..base.errors import BudgetError
from ..profiling.costmodel import Towers, predict_columns, predict_ms, refuse_unknown, tail
from ..profiling.schema import Budget, Profile
from ..runtime.target import Precision
from ..towers.footprint import memory_mb, size_mb
from ..towers.prior import score
from ..towers.space import Space, whole_space
from ..towers.spec import StudentSpec
from .finalists import WriteGraph, all_that_fit, confirm
from .headroom import unused_latency

Column = NDArray[np.float64]
DIFFERENT = 0.5  # doublings of arithmetic and parameters, summed, by which two listed students must differ


@dataclass(frozen=True)
class CandidateTable:
    """The whole space in one precision, with what each candidate costs: columns ``[N]``."""

    space: Space
    precision: Precision
    p50_ms: Column  # predicted
    margin: float  # from p50 to what is held against a budget: the p90 / p50 of the device, and the model's own error
    size_mb: Column
    memory_mb: Column
    score: Column
    extrapolated: NDArray[np.bool_]  # beyond the largest tower that the profile measured

    @cached_property
    def p90_ms(self) -> Column:
        """Predicted, with the model's own error on top: what is held against the budget."""
        return self.p50_ms * self.margin

    @cached_property
    def costs(self) -> dict[str, Column]:
        """What a budget limits, by the budget's own names."""
        return {"latency_ms": self.p90_ms, "size_mb": self.size_mb, "memory_mb": self.memory_mb}


def select(
    profile: Profile,
    budget: Budget,
    *,
    max_image_size: int = 224,
    precisions: Sequence[Precision] | None = None,
    top: int = 10,
    write_graph: WriteGraph | None = None,
    every: bool = False,
) -> list[StudentSpec]:
    """The best students that fit, best first; architecture and precision are chosen together.

    A budget's latency is a p90, and predictions err. So a candidate fits when its predicted p50, times the p90 / p50
    that the profile measured, times one plus the error that nine in ten of the cost model's predictions stay within,
    is within the budget. Where finalists are measured before one is chosen, a prediction need not be so careful: its
    error is not added.

    Args:
        profile: the device. Its own budget is not looked at: pass it as ``budget``.
        budget: limits; what is ``None`` is not limited. ``accuracy_drop`` is for the report: no accuracy is known yet.
        max_image_size: the largest input, pixels: usually the teacher's.
        precisions: those to choose from; all the profile speaks for when None.
        top: how many to return at most. Near-identical ones are left out, so there may be fewer.
        write_graph: with it, finalists are timed here, on the profile's own device, best first, until one fits.
        every: all of them are timed, and only those are returned that fit.

    Raises:
        EdgeclipError: the profile does not speak for one of ``precisions``.
        BudgetError: nothing fits; the text names the nearest that exists.
    """
    limits: dict[str, Any] = {"max_image_size": max_image_size, "precisions": precisions}
    candidates = survey(profile, **limits, to_measure=write_graph is not None)
    if write_graph and every:
        specs = all_that_fit(best(profile, candidates, budget, top), profile, budget, write_graph)
    elif write_graph:
        specs = confirm(lambda aim: best(profile, candidates, aim, top), profile, budget, write_graph)
    else:
        specs = best(profile, candidates, budget, top)
        caution(profile)
    if note := unused_latency(specs[0], profile, budget, max_image_size, lambda aim: best(profile, candidates, aim, 1)):
        say(note)
    return [spec.model_copy(update={"budget": budget}) for spec in specs]


def caution(profile: Profile) -> None:
    """Say what lessens the worth of a profile's predictions."""
    if profile.provenance == "estimated":
        say(
            f"profile {profile.name} is estimated; to measure it, run on the device: "
            f"edgeclip profile {profile.name} --out FILE"
        )
    if profile.flags:
        say(f"profile {profile.name} is {', '.join(profile.flags)}: its notes say why (edgeclip profiles)")


def best(profile: Profile, candidates: Sequence[CandidateTable], budget: Budget, top: int) -> list[StudentSpec]:
    """:func:`select` among what :func:`survey` found."""
    space = candidates[0].space
    fits = np.concatenate([fitting(offer, budget) for offer in candidates])
    if not fits.any():
        raise BudgetError(_nearest(candidates, budget))
    return [spec_of(profile, candidates[i // len(space)], i % len(space)) for i in _different(candidates, fits, top)]


def survey(
    profile: Profile,
    *,
    max_image_size: int = 224,
    precisions: Sequence[Precision] | None = None,
    to_measure: bool = False,
) -> list[CandidateTable]:
    """What everything in the space would cost on the device, one :class:`CandidateTable` a precision.

    Raises:
        EdgeclipError: the profile does not speak for one of ``precisions``.
    """
    wanted = list(dict.fromkeys(precisions or profile.precisions))
    for precision in wanted:
        refuse_unknown(profile, precision)
    space = whole_space(max_image_size)
    return [_offers(profile, space, precision, max_image_size, to_measure) for precision in wanted]


def fitting(candidates: CandidateTable, budget: Budget) -> NDArray[np.bool_]:
    """Which candidates are within every limit."""
    fits = np.ones(len(candidates.space), bool)
    for name, column in candidates.costs.items():
        limit = getattr(budget, name)
        if limit is not None:
            fits &= column <= limit
    return fits & np.isfinite(candidates.p50_ms)


def spec_of(profile: Profile, candidates: CandidateTable, row: int) -> StudentSpec:
    """One candidate as a spec."""
    return StudentSpec(
        name=candidates.space.name(row),
        vision_cfg=candidates.space.vision_cfg(row),
        precision=candidates.precision,
        target=profile.target,
        workload=candidates.space.workload(row),
        predicted_ms=float(candidates.p50_ms[row]),
        predicted_size_mb=float(candidates.size_mb[row]),
        predicted_memory_mb=float(candidates.memory_mb[row]),
        score=float(candidates.score[row]),
        extrapolated=bool(candidates.extrapolated[row]),
    )


def for_profile(spec: StudentSpec, profile: Profile) -> StudentSpec:
    """A spec by hand, or one that another profile chose, as a student for this profile's device and budget.

    Its prediction is this profile's, where it speaks for the spec's precision and family; what was measured on another
    device is forgotten.
    """
    if spec.target == profile.target:
        return spec
    model = profile.cost_model.get(spec.precision)
    known = model is not None and spec.workload.family in model.families
    predicted = predict_ms(profile, spec.workload, spec.precision) if known else None
    changes = {"target": profile.target, "budget": profile.budget, "predicted_ms": predicted, "measured_ms": None}
    return spec.model_copy(update=changes)


def _offers(
    profile: Profile, space: Space, precision: Precision, max_image_size: int, to_measure: bool
) -> CandidateTable:
    model = profile.cost_model[precision]
    p50 = predict_columns(profile, Towers(space.columns.family, space.columns.work, space.columns.params_m), precision)
    p50 = np.where(np.isin(space.columns.family, model.families), p50, np.inf)  # of other families nothing is known
    size = size_mb(space, precision)
    measured = [row for row in profile.latency if row.precision == precision]
    largest = [max((getattr(row, name) for row in measured), default=0.0) for name in ("gflops", "params_m")]
    return CandidateTable(
        space=space,
        precision=precision,
        p50_ms=p50,
        margin=tail(profile, precision) * (1 if to_measure else 1 + model.held_out_p90),
        size_mb=size,
        memory_mb=memory_mb(space, size, profile.base_memory_mb),
        score=score(space, max_image_size, precision),
        extrapolated=(space.gflops > largest[0]) | (space.columns.params_m > largest[1]),
    )


def _nearest(candidates: Sequence[CandidateTable], budget: Budget) -> str:
    """Why nothing fits: the first limit that no candidate meets, and the one that comes closest to it."""
    unit = {"latency_ms": ("ms", "fastest"), "size_mb": ("MB", "smallest"), "memory_mb": ("MB", "leanest")}
    limits = {name: limit for name in unit if (limit := getattr(budget, name)) is not None}
    for name, limit in limits.items():
        best = min(candidates, key=lambda offer: offer.costs[name].min())
        row = int(best.costs[name].argmin())
        if best.costs[name][row] > limit:
            measure, adjective = unit[name]
            needs = f"{_rounded_up(best.costs[name][row]):g} {measure}"
            kind = " of memory" if name == "memory_mb" else ""
            student = f"{best.space.name(row)}, {best.precision}"
            return f"no student fits {limit:g} {measure}{kind}; the {adjective} is {needs} ({student})"
    together = " and ".join(f"{limit:g} {unit[name][0]}" for name, limit in limits.items())
    return f"no student fits {together} together, though each alone can be met: raise one of them"


def _rounded_up(value: float) -> float:
    """Three digits, never below ``value``: a budget of what is printed can be met."""
    step = 10.0 ** (math.floor(math.log10(value)) - 2)
    return math.ceil(value / step * (1 - 1e-12)) * step


def _different(candidates: Sequence[CandidateTable], fits: NDArray[np.bool_], top: int) -> list[int]:
    """Rows of the joined columns, best score first (the faster one of equals), each unlike all before it."""
    scores = np.concatenate([offer.score for offer in candidates])
    speed = np.concatenate([offer.p50_ms for offer in candidates])
    left = np.flatnonzero(fits)
    left = left[np.lexsort((speed[left], -scores[left]))]
    kind = np.concatenate([np.full(len(offer.space), i) for i, offer in enumerate(candidates)])
    space, copies = candidates[0].space, len(candidates)
    family, size = np.tile(space.columns.family, copies), np.tile(space.columns.image_size, copies)
    shape = np.tile(np.log2([space.gflops, space.columns.params_m]), copies)
    chosen: list[int] = []
    while len(left) and len(chosen) < top:
        best = left[0]
        chosen.append(int(best))
        alike = (kind[left] == kind[best]) & (size[left] == size[best]) & (family[left] == family[best])
        alike &= np.abs(shape[:, left] - shape[:, [best]]).sum(axis=0) < DIFFERENT
        left = left[~alike]
    return chosen
