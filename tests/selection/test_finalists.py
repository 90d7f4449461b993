"""Choosing by measurement: where the cost model was too hopeful, faster students are measured."""

import re
from importlib import metadata
from pathlib import Path

import pytest

from edgeclip.base.errors import BudgetError
from edgeclip.device.facts import describe_device
from edgeclip.profiling.costmodel import tail
from edgeclip.profiling.schema import Budget
from edgeclip.profiling.store import load_profile
from edgeclip.selection import select
from edgeclip.selection.finalists import why_unmeasured


@pytest.fixture
def own_profile():
    """A shipped profile, said to be of this machine, with a budget."""
    found = load_profile("x86-avx2-2core").model_copy(update={"device": describe_device()})
    return found.model_copy(update={"budget": found.budget.model_copy(update={"latency_ms": 8.0})})


def no_graph(spec, path: Path):
    raise AssertionError("nothing is built in these tests")


def chosen(profile):
    return select(profile, profile.budget, max_image_size=64, write_graph=no_graph)


def test_finalists_that_are_too_slow_make_way_for_faster_ones(own_profile, monkeypatch):
    asked = []

    def twice_as_slow(specs, profile, budget, write_graph):
        assert budget.latency_ms == 8.0, "what was asked for, whatever is aimed at"
        asked.append(specs)
        best = min(specs, key=lambda spec: spec.predicted_ms)
        if 2 * best.predicted_ms > 4.0:
            raise BudgetError("too slow", over=2 * best.predicted_ms / 4.0)
        return best, specs.index(best)

    monkeypatch.setattr("edgeclip.selection.finalists.first_that_fits", twice_as_slow)
    first, *others = chosen(own_profile)
    assert len(asked) > 1
    assert 2 * first.predicted_ms <= 4.0
    assert max(s.predicted_ms for s in asked[-1]) < max(s.predicted_ms for s in asked[0])
    ranked = [(s.name, s.precision) for s in asked[-1]]
    assert [(s.name, s.precision) for s in others] == ranked[ranked.index((first.name, first.precision)) + 1 :]


def test_what_never_fits_ends(own_profile, monkeypatch):
    rounds = []

    def never(specs, profile, budget, write_graph):
        rounds.append(specs)
        raise BudgetError("none fits", over=1.1)

    monkeypatch.setattr("edgeclip.selection.finalists.first_that_fits", never)
    with pytest.raises(BudgetError, match="none fits"):
        chosen(own_profile)
    assert len(rounds) == 3


def test_why_predictions_stand_unmeasured(own_profile):
    assert "edgeclip profile" in why_unmeasured(own_profile.model_copy(update={"runtime": older(own_profile.runtime)}))
    other = own_profile.model_copy(update={"device": own_profile.device.model_copy(update={"cpu": "another"})})
    assert "another device" in why_unmeasured(other)
    own = own_profile.runtime.model_copy(update={"version": metadata.version("onnxruntime")})
    assert why_unmeasured(own_profile.model_copy(update={"runtime": own})) is None


def older(runtime):
    return runtime.model_copy(update={"version": "1.0.0"})


def test_without_a_measurement_a_prediction_keeps_its_distance(own_profile):
    first = select(own_profile, own_profile.budget, max_image_size=64)[0]
    assert first.measured_ms is None
    error = own_profile.cost_model[first.precision].held_out_p90
    assert first.predicted_ms * tail(own_profile, first.precision) * (1 + error) <= 8.0


def test_what_is_larger_than_all_that_was_measured_says_so(own_profile):
    largest = {p: max(row.gflops for row in own_profile.latency if row.precision == p) for p in own_profile.precisions}
    found = select(own_profile, Budget(), max_image_size=384, top=50) + select(
        own_profile, Budget(latency_ms=2), top=50
    )
    assert {spec.extrapolated for spec in found} == {True, False}
    assert all(spec.extrapolated for spec in found if spec.workload.gflops > largest[spec.precision])
    small = [spec for spec in found if spec.workload.gflops < 0.1 * largest[spec.precision]]
    assert small and not any(spec.extrapolated for spec in small)


def test_all_that_may_be_trained_are_timed_and_the_slow_ones_left_out(own_profile, monkeypatch):
    def timed(specs, profile, write_graph):
        for place, spec in enumerate(specs):
            yield spec.model_copy(update={"measured_ms": 1.0 + place})

    monkeypatch.setattr("edgeclip.selection.finalists.timed", timed)
    settings = {"max_image_size": 64, "top": 12, "write_graph": no_graph, "every": True, "precisions": ["int8"]}
    found = select(own_profile, own_profile.budget, **settings)
    expected = [1.0 + n for n in range(12) if (1.0 + n) * tail(own_profile, "int8") <= 8.0]
    assert [spec.measured_ms for spec in found] == expected
    assert len(found) < 12
    with pytest.raises(BudgetError, match=r"all 12 timed candidates exceed 8 ms.*the fastest takes 9 ms") as caught:
        monkeypatch.setattr(
            "edgeclip.selection.finalists.timed",
            lambda specs, *_: [spec.model_copy(update={"measured_ms": 9.0 + n}) for n, spec in enumerate(specs)],
        )
        select(own_profile, own_profile.budget, **settings)
    assert caught.value.over == pytest.approx(9.0 * tail(own_profile, "int8") / 8.0)


def test_whoever_fits_first_ends_the_timing_with_a_full_bar(own_profile, monkeypatch, capsys):
    import onnx
    from onnx import TensorProto, helper

    def tiny(spec, path):
        sides = ["n", 3, spec.image_size, spec.image_size]
        given = helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, sides)
        found = helper.make_tensor_value_info("image_embeds", TensorProto.FLOAT, sides)
        node = helper.make_node("Abs", [given.name], [found.name])
        graph = helper.make_graph([node], "tiny", [given], [found])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)

    spec, *others = select(own_profile, own_profile.budget, max_image_size=64, write_graph=tiny)
    assert spec.measured_ms is not None
    assert others, "there were more to time"
    assert re.search(r"\b1/1\b", capsys.readouterr().err)
