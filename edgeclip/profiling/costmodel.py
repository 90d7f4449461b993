"""Latency composed from pieces and corrected on whole towers, fitted to the device's own measurements.

**Composed.** A tower's work is known kernel by kernel (calls, arithmetic, activations moved, weights read). Each of
these has a price on the device, per precision:

    composed = constant + sum over kernels and measures of coefficient x work

Costs are never negative (more work never costs less), and are found by least squares on relative errors: 0.3 ms off
matters at 1 ms, not at 100 ms. Times are relative to a reference graph that ran interleaved with each measurement, so
that the machine's drift is gone before anything is fitted.

**Corrected.** What the costs miss (how well a shape suits the runtime's kernels) is alike for towers that are alike.
So the logarithm of measured over composed is interpolated between the measured towers by a Gaussian process whose
covariance is largest within a family and falls with the distance in arithmetic, parameters and composed time.

Quality is told by leaving each tower out once, of costs and correction alike, and predicting it from the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.documents import NonNegative
from ..base.errors import EdgeclipError
from ..runtime.target import Precision
from .schema import KERNELS, MEASURES, CostModel, Kernel, Latency, Measure, Profile, Workload

Array = NDArray[np.float64]
# What a unit of work costs where nothing was measured, relative to the reference: between what it was found to cost on
# x86 for one kind of kernel and another. Fitted costs are drawn towards it, the less the more was measured.
USUAL: dict[Measure, float] = {"calls": 0.002, "gflops": 1.5, "melems": 0.1, "params_m": 0.02}
PULL = 0.02
PATIENCE = 3
# The Gaussian process, in logarithms: deviation within a family, between families, of a measurement; and the distance
# (in doublings) over which a deviation fades.
WITHIN, BETWEEN, NOISE, REACH = 0.15, 0.08, 0.04, 2.0
USUAL_TAIL = 1.1  # p90 / p50 of a machine that does nothing else
FEWEST = 16  # towers in one precision: fewer say too little of the others


@dataclass(frozen=True)
class Towers:
    """Columns of what predictions rest on: ``family`` [N], ``work`` [N, kernels, measures], ``params_m`` [N]."""

    family: NDArray[np.str_]
    work: Array
    params_m: Array

    @classmethod
    def of(cls, loads: Sequence[Workload]) -> Towers:
        """A column a workload."""
        work = np.zeros((len(loads), len(KERNELS), len(MEASURES)))
        for row, load in enumerate(loads):
            for kernel, done in load.kernels.items():
                work[row, KERNELS.index(kernel)] = [getattr(done, measure) for measure in MEASURES]
        return cls(np.array([load.family for load in loads]), work, np.array([load.params_m for load in loads]))

    def __getitem__(self, rows: NDArray[np.bool_]) -> Towers:
        return Towers(self.family[rows], self.work[rows], self.params_m[rows])

    @property
    def gflops(self) -> Array:
        """2 x multiply-adds, billions."""
        return np.asarray(self.work[:, :, MEASURES.index("gflops")].sum(axis=1))


@dataclass(frozen=True)
class KernelCosts:
    """What the pieces cost, relative to the reference: ``table`` [kernels, measures]."""

    table: Array
    constant: float

    def compose(self, towers: Towers) -> Array:
        """The sum of the pieces, relative ``[N]``; never zero."""
        return np.maximum(np.einsum("nkm,km->n", towers.work, self.table) + self.constant, 1e-6)


@dataclass(frozen=True)
class ResidualModel:
    """Whole towers that were measured, and how far off their pieces were: ``residual`` = log(measured / composed)."""

    family: NDArray[np.str_]
    place: Array  # [N, 3], doublings of arithmetic, parameters, composed time
    residual: Array

    def correct(self, family: NDArray[np.str_], place: Array) -> Array:
        """What to multiply composed times by ``[M]``."""
        if not len(self.residual):
            return np.ones(len(family))
        alike = self.family[:, None] == self.family
        covariance = (WITHIN**2 * alike + BETWEEN**2) * _near(self.place, self.place)
        weights = np.linalg.solve(covariance + NOISE**2 * np.eye(len(covariance)), self.residual)
        # Of tens of thousands of towers: single precision takes half the time, and is 1e-6 off.
        near = _near(place.astype(np.float32), self.place.astype(np.float32))
        expected = near @ (BETWEEN**2 * weights).astype(np.float32)
        for name in np.unique(self.family):
            rows, kin = np.flatnonzero(family == name), np.flatnonzero(self.family == name)
            expected[rows] += near[np.ix_(rows, kin)] @ (WITHIN**2 * weights[kin]).astype(np.float32)
        return np.exp(expected.astype(np.float64))


def fit(loads: Sequence[Workload], relative: Sequence[float], recipe: str) -> tuple[CostModel, list[float]]:
    """Fit one precision's measurements.

    Args:
        loads: what each measured tower does.
        relative: its time over the reference's.
        recipe: how graphs come to be in this precision, for the record.

    Returns:
        The model, and the composed time of each tower, relative.

    Raises:
        EdgeclipError: fewer than ``FEWEST`` towers were measured.
    """
    if len(loads) < FEWEST:
        raise EdgeclipError(
            f"{len(loads)} graphs were measured but a cost model needs {FEWEST}: give it more --seconds"
        )
    towers, measured = Towers.of(loads), np.asarray(relative, np.float64)
    costs = _kernel_costs(towers, measured)
    errors = np.abs(held_out(towers, measured) / measured - 1)
    fitted: dict[Kernel, dict[Measure, NonNegative]] = {}
    for kernel, row in zip(KERNELS, costs.table.tolist(), strict=True):
        if any(row):
            fitted[kernel] = {measure: price for measure, price in zip(MEASURES, row, strict=True) if price}
    model = CostModel(
        coefficients=fitted,
        constant=costs.constant,
        families=sorted(set(towers.family.tolist())),
        recipe=recipe,
        held_out_error=float(errors.mean()),
        held_out_p90=float(np.percentile(errors, 90)),
    )
    return model, costs.compose(towers).tolist()


def held_out(towers: Towers, measured: Array) -> Array:
    """Each tower's time ``[N]`` as predicted from all the others."""
    predicted = np.empty(len(measured))
    for out in range(len(measured)):
        kept = np.arange(len(measured)) != out
        costs = _kernel_costs(towers[kept], measured[kept])
        predicted[out] = _corrected(costs, towers[~kept], _residuals(costs, towers[kept], measured[kept]))[0]
    return predicted


def predict_ms(profile: Profile, load: Workload, precision: Precision) -> float:
    """p50 of one image, in ms, on the profile's device, runtime and threads.

    Raises:
        EdgeclipError: the profile does not speak for ``precision`` (fp16 on a CPU provider never is: it has no
            kernels of its own there); ``precision in profile.precisions`` asks first.
    """
    return float(predict_columns(profile, Towers.of([load]), precision)[0])


def refuse_unknown(profile: Profile, precision: Precision) -> None:
    """Refuse a precision that a profile does not speak for.

    Raises:
        EdgeclipError: naming those that it has.
    """
    if precision not in profile.cost_model:
        has, engine = " and ".join(profile.precisions), profile.runtime.name
        why = f"its engine, {engine} with {profile.runtime.provider}, was measured in these alone"
        raise EdgeclipError(f"profile {profile.name} has no data for {precision}, only for {has}: {why}")


def predict_columns(profile: Profile, towers: Towers, precision: Precision) -> Array:
    """:func:`predict_ms` for many towers: ms ``[N]``."""
    refuse_unknown(profile, precision)
    model = profile.cost_model[precision]
    table = np.array([[model.coefficients.get(k, {}).get(m, 0.0) for m in MEASURES] for k in KERNELS])
    rows = [row for row in profile.latency if row.precision == precision]
    return profile.reference.p50_ms * _corrected(KernelCosts(table, model.constant), towers, _residuals_of(rows))


def tail(profile: Profile, precision: Precision) -> float:
    """p90 / p50 of one image on that device: the median over its latency table, ``USUAL_TAIL`` where it has none."""
    ratios = [row.p90_ms / row.p50_ms for row in profile.latency if row.precision == precision]
    return float(np.median(ratios)) if ratios else USUAL_TAIL


def _corrected(costs: KernelCosts, towers: Towers, residuals: ResidualModel) -> Array:
    composed = costs.compose(towers)
    return composed * residuals.correct(towers.family, _place(towers.gflops, towers.params_m, composed))


def _residuals(costs: KernelCosts, towers: Towers, measured: Array) -> ResidualModel:
    composed = costs.compose(towers)
    return ResidualModel(towers.family, _place(towers.gflops, towers.params_m, composed), np.log(measured / composed))


def _residuals_of(rows: Sequence[Latency]) -> ResidualModel:
    gflops, params, composed, relative = (
        np.array([getattr(row, name) for row in rows], np.float64)
        for name in ("gflops", "params_m", "composed", "relative")
    )
    place = _place(gflops, params, composed)
    return ResidualModel(np.array([row.family for row in rows]), place, np.log(relative / composed))


def _place(gflops: Array, params_m: Array, composed: Array) -> Array:
    return np.log2(np.stack([np.maximum(gflops, 1e-6), params_m, composed], axis=1)) / REACH


def _near(place: NDArray[Any], theirs: NDArray[Any]) -> NDArray[Any]:
    """``[N, M]``: what distance leaves of the covariance, exp(-distance squared / 2), 1 at the same place."""
    # The halves of a square's three terms as one product of extended places: term by term, three more tables are made.
    half, halves = ((each**2).sum(axis=1) / -2 for each in (place, theirs))
    left = np.column_stack([place, half, np.ones_like(half)])
    right = np.column_stack([theirs, np.ones_like(halves), halves]).T
    with np.errstate(invalid="ignore"):  # OpenBLAS may raise it for what it reads past a vector's end, and does not use
        exponent = left @ right
    return np.exp(exponent, out=exponent)


def _kernel_costs(towers: Towers, measured: Array) -> KernelCosts:
    """Least squares on relative errors over costs that are not negative, drawn towards ``USUAL``."""
    table = np.concatenate([towers.work.reshape(len(measured), -1), np.ones((len(measured), 1))], axis=1)
    usual = np.append(np.tile([USUAL[measure] for measure in MEASURES], len(KERNELS)), USUAL["calls"])
    weighted = table / measured[:, None]
    scale = np.linalg.norm(weighted, axis=0)
    used = np.flatnonzero(scale)
    weighted, draw = weighted[:, used] / scale[used], PULL * np.eye(len(used))
    target = weighted.sum(axis=0) + PULL * usual[used] * scale[used]
    costs = usual.copy()  # of what no tower has, nothing else is known
    costs[used] = _not_negative(weighted.T @ weighted + draw, target) / scale[used]
    return KernelCosts(costs[:-1].reshape(len(KERNELS), len(MEASURES)), float(costs[-1]))


def _not_negative(gram: Array, target: Array) -> Array:
    """The minimum of ``x gram x / 2 - target x`` over ``x >= 0``, by block principal pivoting.

    Júdice and Pires 1994: guess which are positive, solve for those, and let all wrong guesses change sides; one at a
    time where that does not lessen their number, which cannot go on for ever.
    """
    free, fewest, patience = np.ones(len(target), bool), len(target) + 1, PATIENCE
    while True:
        x = np.zeros(len(target))
        x[free] = np.linalg.solve(gram[np.ix_(free, free)], target[free])
        wrong = np.where(free, x < 0, gram @ x < target - 1e-9)
        if not wrong.any():
            return x
        if wrong.sum() < fewest:
            fewest, patience = int(wrong.sum()), PATIENCE
        elif patience:
            patience -= 1
        else:
            wrong[: np.flatnonzero(wrong)[-1]] = False
        free ^= wrong
