"""Prices are found again, corrections bring predictions to what was measured, and quality is told without flattery."""

import numpy as np
import pytest

from edgeclip.device.costmodel import FEWEST, Towers, fit, predict_columns
from edgeclip.device.schema import KERNELS, MEASURES, Latency
from edgeclip.device.store import load_profile
from edgeclip.errors import EdgeclipError
from edgeclip.towers.space import whole_space


@pytest.fixture(scope="module")
def loads():
    space = whole_space(64)
    rows = np.random.default_rng(0).choice(len(space), 40, replace=False)
    return [space.workload(int(row)) for row in (*rows, *range(len(space) - 20, len(space)))]


def priced(loads, prices):
    table = np.array([[prices.get((kernel, measure), 0.0) for measure in MEASURES] for kernel in KERNELS])
    return (np.einsum("nkm,km->n", Towers.of(loads).work, table) + 0.02).tolist()


PRICES = {("linear", "gflops"): 2.0, ("pointwise", "gflops"): 1.5, ("norm", "calls"): 0.01, ("gelu", "melems"): 0.3}


def test_prices_are_found_again(loads):
    relative = priced(loads, PRICES)
    model, composed = fit(loads, relative, "fp32")
    assert model.held_out_error < 0.02
    assert (
        np.abs(np.array(composed) / relative - 1).mean() < 0.05
    )  # PULL draws what little was measured of towards the usual
    assert all(price >= 0 for row in model.coefficients.values() for price in row.values())


def test_what_a_family_has_in_common_is_corrected(loads):
    slow = [2.0 if load.family == "repvit" else 1.0 for load in loads]
    relative = [time * factor for time, factor in zip(priced(loads, PRICES), slow, strict=True)]
    model, composed = fit(loads, relative, "fp32")
    rows = [
        Latency(
            name=str(place),
            family=load.family,
            precision="fp32",
            gflops=load.gflops,
            params_m=load.params_m,
            p50_ms=time,
            p90_ms=time,
            spread=0,
            runs=9,
            warmup=1,
            relative=time,
            composed=pieces,
        )
        for place, (load, time, pieces) in enumerate(zip(loads, relative, composed, strict=True))
    ]
    shipped = load_profile("x86-avx2-2core")
    corrected = shipped.model_copy(update={"cost_model": {"fp32": model}, "latency": rows})
    plain = corrected.model_copy(update={"latency": []})
    towers = Towers.of(loads)
    errors = [
        np.abs(predict_columns(p, towers, "fp32") / shipped.reference.p50_ms / relative - 1).mean()
        for p in (plain, corrected)
    ]
    assert errors[1] < 0.5 * errors[0]


def test_too_few_measurements_are_refused(loads):
    with pytest.raises(EdgeclipError, match=f"needs {FEWEST}"):
        fit(loads[: FEWEST - 1], [1.0] * (FEWEST - 1), "fp32")


def test_noise_shows_in_the_held_out_error(loads):
    noise = np.exp(np.random.default_rng(1).normal(0, 0.3, len(loads)))
    model, _ = fit(loads, (np.array(priced(loads, PRICES)) * noise).tolist(), "fp32")
    assert 0.1 < model.held_out_error < model.held_out_p90
