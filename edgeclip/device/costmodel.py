"""Latency predicted from what one image costs: a line per precision, fitted to the device's own measurements.

Times are relative to a reference graph that ran interleaved with each measurement, so that the machine's drift is gone
before anything is fitted. The line is ``relative = sum(coefficient * feature)`` with coefficients that are never
negative (more work never costs less), fitted by least squares on relative errors: 0.3 ms off matters at 1 ms, not at
100 ms. Its quality is told by leaving each graph out once and predicting it from the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import EdgeclipError
from .schema import CostModel, Feature, Latency, Precision, Profile, Workload

Array = NDArray[np.float64]
FEATURES: tuple[Feature, ...] = (
    "linear_gflops",
    "attention_gflops",
    "elementwise_melems",
    "params_m",  # weights are read once an image, whatever the number of tokens
    "depth",  # operators are launched once a block
    "constant",
)
USUAL_TAIL = 1.1  # of a machine that does nothing else
FEWEST = len(FEATURES) + 2  # graphs to fit from: leaving one out must still leave more of them than coefficients


def fit(rows: Sequence[Latency]) -> CostModel:
    """Fit one precision's measurements.

    Raises:
        EdgeclipError: fewer than ``FEWEST`` graphs were measured.
    """
    if len(rows) < FEWEST:
        raise EdgeclipError(f"{len(rows)} graphs were measured but a cost model needs {FEWEST}: give it more --seconds")
    columns = [feature_columns(row.workload.model_dump()) for row in rows]
    table = np.array([[float(c[name]) for name in FEATURES] for c in columns])
    relative = np.array([row.relative for row in rows])
    errors = []
    for out in range(len(rows)):
        kept = np.arange(len(rows)) != out
        predicted = table[out] @ _nonnegative(table[kept], relative[kept])
        errors.append(abs(predicted - relative[out]) / relative[out])
    found = _nonnegative(table, relative)
    coefficients = {name: float(value) for name, value in zip(FEATURES, found, strict=True) if value > 0}
    return CostModel(coefficients=coefficients, held_out_error=float(np.mean(errors)))


def predict_ms(profile: Profile, workload: Workload, precision: Precision) -> float:
    """p50 of one image, in ms, on the profile's device, runtime and threads.

    Raises:
        EdgeclipError: the profile does not speak for ``precision`` (fp16 on a CPU provider never is: it has no
            kernels of its own there); ``precision in profile.precisions`` asks first.
    """
    return float(predict_columns(profile, workload.model_dump(), precision))


def predict_columns(profile: Profile, costs: Mapping[str, Any], precision: Precision) -> Array:
    """:func:`predict_ms` for many towers: ``costs`` maps a Workload's field names to columns ``[N]``; ms ``[N]``."""
    if precision not in profile.cost_model:
        has = ", ".join(profile.precisions)
        raise EdgeclipError(f"profile {profile.name} cannot predict {precision}: it has {has}")
    columns = feature_columns(costs)
    coefficients = profile.cost_model[precision].coefficients
    relative = sum(value * columns[name] for name, value in coefficients.items())
    return np.asarray(profile.reference.p50_ms * relative, np.float64)


def tail(profile: Profile, precision: Precision) -> float:
    """p90 / p50 of one image on that device: the median over its latency table, ``USUAL_TAIL`` where it has none."""
    ratios = [row.p90_ms / row.p50_ms for row in profile.latency if row.precision == precision]
    return float(np.median(ratios)) if ratios else USUAL_TAIL


def feature_columns(costs: Mapping[str, Any]) -> dict[Feature, Any]:
    """What the line multiplies: the fields of a Workload, numbers or columns, and the constant."""
    return {name: 1.0 if name == "constant" else costs[name] for name in FEATURES}


def _nonnegative(table: Array, target: Array) -> Array:
    """Non-negative least squares on relative errors: minimise ``|table @ x / target - 1|`` over ``x >= 0``.

    The minimum is the unconstrained one over the features that it uses, so with a handful of features it is found by
    trying every subset: exact, and quicker than it sounds.
    """
    weighted = table / target[:, None]
    scale = np.linalg.norm(weighted, axis=0)
    weighted = weighted / np.where(scale > 0, scale, 1)
    best, least = np.zeros(table.shape[1]), np.inf
    for size in range(1, table.shape[1] + 1):
        for chosen in map(list, combinations(range(table.shape[1]), size)):
            x = np.linalg.lstsq(weighted[:, chosen], np.ones(len(target)), rcond=None)[0]
            error = float(np.sum((weighted[:, chosen] @ x - 1) ** 2))
            if (x >= 0).all() and error < least - 1e-12:
                least, best = error, np.zeros(table.shape[1])
                best[chosen] = x / scale[chosen]
    return best
