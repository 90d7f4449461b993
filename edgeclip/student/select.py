"""Which students a device can afford: list them all, keep what fits, rank by expected accuracy, show different ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..device.costmodel import predict_columns, tail
from ..device.schema import Budget, Precision, Profile
from ..errors import BudgetError, EdgeclipError
from .score import score
from .space import Space, vit_space
from .spec import StudentSpec
from .workload import vit_workload

Column = NDArray[np.float64]
BYTES: dict[Precision, float] = {"fp32": 4, "fp16": 2, "int8": 1}
GRAPH_MB, BLOCK_MB = 0.02, 0.01  # an exported graph without its weights, and each block of it
PROCESS_MB = 90.0  # Python, numpy, Pillow, a tokenizer and onnxruntime, before any graph is opened
COPIES = 2.0  # onnxruntime keeps a weight as it was stored and as its kernels want it
DIFFERENT = 0.5  # doublings of width and depth, summed, by which two listed students must differ


@dataclass(frozen=True)
class Offers:
    """The whole space in one precision, with what each candidate costs: columns ``[N]``."""

    space: Space
    precision: Precision
    p50_ms: Column  # predicted
    p90_ms: Column  # predicted, with the model's own error on top: what is held against the budget
    size_mb: Column
    memory_mb: Column
    score: Column

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
) -> list[StudentSpec]:
    """The best students that fit, best first; architecture and precision are chosen together.

    A budget's latency is a p90, and predictions err. So a candidate fits when its predicted p50, times the p90 / p50
    that the profile measured, times one plus the cost model's held-out error, is within the budget.

    Args:
        profile: the device. Its own budget is not looked at: pass it as ``budget``.
        budget: limits; what is ``None`` is not limited. ``accuracy_drop`` is for the report: no accuracy is known yet.
        max_image_size: the largest input, pixels: usually the teacher's.
        precisions: those to choose from; all the profile speaks for when None.
        top: how many to return at most. Near-identical ones are left out, so there may be fewer.

    Raises:
        EdgeclipError: the profile does not speak for one of ``precisions``.
        BudgetError: nothing fits; the text names the nearest that exists.
    """
    wanted = list(dict.fromkeys(precisions or profile.precisions))
    for precision in wanted:
        if precision not in profile.cost_model:
            has = ", ".join(profile.precisions)
            raise EdgeclipError(f"profile {profile.name} does not speak for {precision}: it has {has}; measure it anew")
    space = vit_space(max_image_size)
    offers = [_offers(profile, space, precision, max_image_size) for precision in wanted]
    fits = np.concatenate([_fits(offer, budget) for offer in offers])
    if not fits.any():
        raise BudgetError(_nearest(offers, budget))
    return [_spec(profile, offers[i // len(space)], i % len(space)) for i in _different(offers, fits, top)]


def _offers(profile: Profile, space: Space, precision: Precision, max_image_size: int) -> Offers:
    costs = space.costs()
    p50 = predict_columns(profile, costs, precision)
    size = costs["params_m"] * BYTES[precision] + GRAPH_MB + BLOCK_MB * space.layers
    return Offers(
        space=space,
        precision=precision,
        p50_ms=p50,
        p90_ms=p50 * tail(profile, precision) * (1 + profile.cost_model[precision].held_out_error),
        size_mb=size,
        memory_mb=PROCESS_MB + COPIES * size,
        score=score(space, max_image_size, precision),
    )


def _fits(offers: Offers, budget: Budget) -> NDArray[np.bool_]:
    fits = np.ones(len(offers.space), bool)
    for name, column in offers.costs.items():
        limit = getattr(budget, name)
        if limit is not None:
            fits &= column <= limit
    return fits


def _nearest(offers: Sequence[Offers], budget: Budget) -> str:
    """Why nothing fits: the first limit that no candidate meets, and the one that comes closest to it."""
    unit = {"latency_ms": ("ms", "fastest"), "size_mb": ("MB", "smallest"), "memory_mb": ("MB", "leanest")}
    limits = {name: limit for name in unit if (limit := getattr(budget, name)) is not None}
    for name, limit in limits.items():
        best = min(offers, key=lambda offer: offer.costs[name].min())
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


def _different(offers: Sequence[Offers], fits: NDArray[np.bool_], top: int) -> list[int]:
    """Rows of the joined columns, best score first (the faster one of equals), each unlike all before it."""
    scores = np.concatenate([offer.score for offer in offers])
    speed = np.concatenate([offer.p50_ms for offer in offers])
    order = np.lexsort((speed, -scores))
    left = order[fits[order]]
    kinds = np.concatenate([np.full(len(offer.space), i) for i, offer in enumerate(offers)])
    spaces = [offer.space for offer in offers]
    size, patch = (np.concatenate([getattr(s, name) for s in spaces]) for name in ("image_size", "patch_size"))
    shape = np.log2([np.concatenate([getattr(s, name) for s in spaces]) for name in ("width", "layers")])
    chosen: list[int] = []
    while len(left) and len(chosen) < top:
        best = left[0]
        chosen.append(int(best))
        alike = (kinds[left] == kinds[best]) & (size[left] == size[best]) & (patch[left] == patch[best])
        alike &= np.abs(shape[:, left] - shape[:, [best]]).sum(axis=0) < DIFFERENT
        left = left[~alike]
    return chosen


def _spec(profile: Profile, offers: Offers, row: int) -> StudentSpec:
    config = offers.space.vision_cfg(row)
    return StudentSpec(
        name=offers.space.name(row),
        vision_cfg=config,
        precision=offers.precision,
        workload=vit_workload(config),
        predicted_ms=float(offers.p50_ms[row]),
        predicted_by=profile.name,
        score=float(offers.score[row]),
    )
