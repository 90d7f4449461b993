"""Costs are found again, corrections bring predictions to what was measured, and quality is told without flattery."""

import numpy as np
import pytest
from scipy.optimize import nnls

from edgeclip.base.errors import EdgeclipError
from edgeclip.profiling.costmodel import (
    BETWEEN,
    FEWEST,
    NOISE,
    PULL,
    REACH,
    USUAL,
    USUAL_TAIL,
    WITHIN,
    KernelCosts,
    ResidualModel,
    Towers,
    _corrected,
    _kernel_costs,
    _near,
    _not_negative,
    _place,
    _residuals,
    fit,
    predict_columns,
    predict_ms,
    tail,
)
from edgeclip.profiling.schema import KERNELS, MEASURES, Latency
from edgeclip.profiling.store import load_profile
from edgeclip.towers.space import whole_space


@pytest.fixture(scope="module")
def loads():
    space = whole_space(64)
    rows = np.random.default_rng(0).choice(len(space), 40, replace=False)
    return [space.workload(int(row)) for row in (*rows, *range(len(space) - 20, len(space)))]


def priced(loads, costs):
    table = np.array([[costs.get((kernel, measure), 0.0) for measure in MEASURES] for kernel in KERNELS])
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


def test_the_least_squares_over_what_is_not_negative_are_scipys():
    draw = np.random.default_rng(0)
    for rows, columns in [(12, 5), (30, 20), (40, 40)] * 10:
        table, measured = draw.random((rows, columns)), draw.normal(size=rows)
        expected, _ = nnls(table, measured)
        found = _not_negative(table.T @ table + 1e-9 * np.eye(columns), table.T @ measured)
        assert (found >= 0).all()
        assert np.linalg.norm(table @ found - measured) == pytest.approx(np.linalg.norm(table @ expected - measured))


def test_prices_minimise_relative_errors_and_the_pull_to_the_usual(loads):
    """The same objective written out, row by row, and given to scipy."""
    relative = np.array(priced(loads, PRICES)) * np.linspace(0.9, 1.1, len(loads))
    found = _kernel_costs(Towers.of(loads), relative)
    work = np.array(
        [
            [getattr(load.kernels[k], m) if k in load.kernels else 0.0 for k in KERNELS for m in MEASURES] + [1.0]
            for load in loads
        ]
    )
    usual = np.array([USUAL[m] for _ in KERNELS for m in MEASURES] + [USUAL["calls"]])
    weighted = work / relative[:, None]
    scale = np.linalg.norm(weighted, axis=0)
    used = scale > 0
    # |weighted x - 1|^2 + PULL |scale (x - usual)|^2, in y = scale x
    table = np.vstack([weighted[:, used] / scale[used], PULL**0.5 * np.eye(used.sum())])
    aim = np.concatenate([np.ones(len(loads)), PULL**0.5 * usual[used] * scale[used]])
    expected, _ = nnls(table, aim)
    costs = np.append(found.table.ravel(), found.constant)
    assert np.allclose(costs[used], expected / scale[used], rtol=1e-4, atol=1e-9)
    assert np.array_equal(costs[~used], usual[~used]), "of what no tower has, nothing else is known"


def test_what_is_alike_fades_with_distance():
    found = _near(np.array([[0.0, 0, 0], [1.0, 2, 2]]), np.array([[1.0, 2, 2], [0.0, 0, 0], [0.0, -1, 0]]))
    assert np.allclose(found, np.exp([[-9 / 2, 0, -1 / 2], [0, -9 / 2, -(1 + 9 + 4) / 2]]))


def test_corrections_are_those_of_a_gaussian_process():
    rng = np.random.default_rng(4)
    families = np.array(["vit", "repvit", "vit", "fastvit", "repvit", "convnext", "vit"])
    places, residual = rng.normal(0, 1, (7, 3)), rng.normal(0, 0.2, 5)

    def covariance(one, other):
        deviation = BETWEEN**2 + (WITHIN**2 if families[one] == families[other] else 0)
        return deviation * np.exp(-np.sum((places[one] - places[other]) ** 2) / 2)

    own = np.array([[covariance(i, j) for j in range(5)] for i in range(5)]) + NOISE**2 * np.eye(5)
    across = np.array([[covariance(i, j) for j in range(5)] for i in (5, 6)])
    expected = np.exp(across @ np.linalg.inv(own) @ residual)
    found = ResidualModel(families[:5], places[:5], residual).correct(families[5:], places[5:])
    assert found == pytest.approx(expected, rel=1e-5), "of a family that was not measured, and of one that was"


def test_one_anchor_corrects_what_is_like_it():
    measured_tower = ResidualModel(np.array(["vit"]), np.zeros((1, 3)), np.log([2.0]))
    gain = (WITHIN**2 + BETWEEN**2) / (WITHIN**2 + BETWEEN**2 + NOISE**2)
    other = BETWEEN**2 / (WITHIN**2 + BETWEEN**2 + NOISE**2)
    found = measured_tower.correct(np.array(["vit", "repvit"]), np.zeros((2, 3)))
    assert found.tolist() == pytest.approx([2.0**gain, 2.0**other])
    nothing = ResidualModel(np.array([]), np.zeros((0, 3)), np.array([]))
    assert nothing.correct(np.array(["vit"]), np.zeros((1, 3))).tolist() == [1.0]


def test_a_place_is_told_in_doublings():
    found = _place(np.array([4.0, 0.0]), np.array([8.0, 1.0]), np.array([0.5, 1.0]))
    assert found[0].tolist() == [2 / REACH, 3 / REACH, -1 / REACH]
    assert found[1].tolist() == pytest.approx([np.log2(1e-6) / REACH, 0.0, 0.0]), "no arithmetic is no infinity"


def test_a_prediction_is_the_sum_of_the_pieces_corrected(loads):
    shipped = load_profile("x86-avx2-2core")
    model = shipped.cost_model["fp32"]
    bare = shipped.model_copy(update={"latency": []})
    load = next(load for load in loads if load.family == "vit")
    pieces = sum(
        price * getattr(load.kernels[kernel], measure)
        for kernel, row in model.coefficients.items()
        for measure, price in row.items()
        if kernel in load.kernels
    )
    ms = predict_ms(bare, load, "fp32")
    assert ms == pytest.approx(shipped.reference.p50_ms * (pieces + model.constant))
    row = Latency(
        name="x",
        family="vit",
        precision="fp32",
        gflops=load.gflops,
        params_m=load.params_m,
        p50_ms=1,
        p90_ms=1.5,
        spread=0,
        runs=1,
        warmup=1,
        relative=3.0,
        composed=pieces + model.constant,
    )
    once = shipped.model_copy(update={"latency": [row, row.model_copy(update={"precision": "int8", "relative": 9.0})]})
    gain = (WITHIN**2 + BETWEEN**2) / (WITHIN**2 + BETWEEN**2 + NOISE**2)
    factor = (3.0 / row.composed) ** gain
    assert predict_ms(once, load, "fp32") == pytest.approx(ms * factor), "other precisions say nothing of this one"
    with pytest.raises(EdgeclipError, match=r"has no data for fp16, only for fp32 and int8"):
        predict_ms(shipped, load, "fp16")


def test_the_tail_is_the_median_of_the_table():
    shipped = load_profile("x86-avx2-2core")
    row = shipped.latency[0].model_copy(update={"precision": "fp32", "p50_ms": 2.0})
    rows = [row.model_copy(update={"p90_ms": ms}) for ms in (2.2, 2.6, 8.0)]
    other = row.model_copy(update={"precision": "int8", "p90_ms": 20.0})
    assert tail(shipped.model_copy(update={"latency": [*rows, other]}), "fp32") == pytest.approx(1.3)
    assert tail(shipped.model_copy(update={"latency": []}), "fp32") == USUAL_TAIL


def test_the_held_out_error_is_of_predictions_from_all_others(loads):
    few = loads[: FEWEST + 2]
    relative = np.array(priced(few, PRICES)) * np.exp(np.random.default_rng(2).normal(0, 0.1, len(few)))
    model, composed = fit(few, relative.tolist(), "a recipe")
    errors = []
    for out in range(len(few)):
        others = [load for place, load in enumerate(few) if place != out]
        measured = np.delete(relative, out)
        costs = _kernel_costs(Towers.of(others), measured)
        residuals = _residuals(costs, Towers.of(others), measured)
        predicted = _corrected(costs, Towers.of([few[out]]), residuals)[0]
        errors.append(abs(predicted - relative[out]) / relative[out])
    assert model.held_out_error == pytest.approx(np.mean(errors))
    assert model.held_out_p90 == pytest.approx(np.percentile(errors, 90))
    assert (model.recipe, model.families) == ("a recipe", sorted({load.family for load in few}))
    table = np.array([[model.coefficients.get(k, {}).get(m, 0.0) for m in MEASURES] for k in KERNELS])
    assert composed == pytest.approx(KernelCosts(table, model.constant).compose(Towers.of(few)).tolist())
    assert fit(loads[:FEWEST], relative[:FEWEST].tolist(), "")[0].recipe == ""


def test_pieces_never_cost_nothing(loads):
    free = KernelCosts(np.zeros((len(KERNELS), len(MEASURES))), 0.0)
    assert free.compose(Towers.of(loads[:2])).tolist() == [1e-6, 1e-6]
    few = Towers.of(loads[:3])
    assert few[np.array([True, False, True])].params_m.tolist() == [loads[0].params_m, loads[2].params_m]
    assert few.gflops.tolist() == pytest.approx([load.gflops for load in loads[:3]])
