"""Choosing by measurement: where the cost model was too hopeful, faster students are measured."""

import pytest

from edgeclip.device.facts import describe_device
from edgeclip.device.store import load_profile
from edgeclip.errors import BudgetError
from edgeclip.steps.choose import choose


@pytest.fixture
def own_profile():
    """A shipped profile, said to be of this machine, with a budget."""
    found = load_profile("x86-avx2-2core").model_copy(update={"device": describe_device()})
    return found.model_copy(update={"budget": found.budget.model_copy(update={"latency_ms": 8.0})})


def test_finalists_that_are_too_slow_make_way_for_faster_ones(own_profile, monkeypatch):
    asked = []

    def twice_as_slow(specs, profile, budget, write_graph):
        asked.append(specs)
        best = min(specs, key=lambda spec: spec.predicted_ms)
        if 2 * best.predicted_ms > 4.0:
            raise BudgetError("too slow", over=2 * best.predicted_ms / 4.0)
        return best

    monkeypatch.setattr("edgeclip.student.finalists.best_measured", twice_as_slow)
    chosen = choose(own_profile, max_image_size=64)
    assert len(asked) > 1
    assert 2 * chosen.predicted_ms <= 4.0
    assert max(s.predicted_ms for s in asked[-1]) < max(s.predicted_ms for s in asked[0])


def test_what_never_fits_ends(own_profile, monkeypatch):
    rounds = []

    def never(specs, profile, budget, write_graph):
        rounds.append(specs)
        raise BudgetError("none fits", over=1.1)

    monkeypatch.setattr("edgeclip.student.finalists.best_measured", never)
    with pytest.raises(BudgetError, match="none fits"):
        choose(own_profile, max_image_size=64)
    assert len(rounds) == 3


def test_a_profile_of_another_device_is_only_predicted_from(own_profile):
    other = own_profile.model_copy(update={"device": own_profile.device.model_copy(update={"cpu": "another"})})
    chosen = choose(other, max_image_size=64)
    assert chosen.measured_ms is None
    assert chosen.predicted_ms <= 8.0
