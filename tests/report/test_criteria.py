"""Each criterion, word for word: what was asked for, what was measured, and what to do where it was not."""

import pytest

from edgeclip.report.criteria import (
    DROP,
    LATENCY,
    asked_for,
    at_least,
    at_most,
    points_lost,
    times_as_long,
)
from edgeclip.report.intervals import paired_interval, wilson
from edgeclip.report.schema import Criterion

from .test_report import row


def answered(stage, right, ms=1.0):
    top1 = right.count("1") / len(right)
    return row(stage, top1, ms, right=right, top1_interval=wilson(top1, len(right)))


def test_every_limit_is_a_criterion():
    chosen = row("exported int8", 0.5, 10.0, peak_memory_mb=120.0)
    found = asked_for([chosen], chosen, {"latency_ms": 11.0, "size_mb": 1.0, "memory_mb": 119.0})
    assert found == [
        Criterion(name=LATENCY, limit=11.0, measured=11.0, unit="ms", met=True),
        Criterion(name="size of the image tower", limit=1.0, measured=1.0, unit="MB", met=True),
        Criterion(name="peak memory", limit=119.0, measured=120.0, unit="MB", met=False),
    ]
    assert asked_for([chosen], chosen, {}) == []
    zero = asked_for([chosen], chosen, {"size_mb": 0.0})
    assert [one.met for one in zero] == [False], "a limit of nothing is a limit"


def test_what_was_not_measured_says_how_to():
    chosen = row("exported int8", 0.5, 10.0).model_copy(update={"timing": None})
    budget = {"latency_ms": 1.0, "size_mb": 2.0, "memory_mb": 3.0, "accuracy_drop": 4.0}
    latency, size, memory, drop = asked_for([chosen], chosen, budget)
    assert latency == Criterion(
        name=LATENCY, limit=1.0, unit="ms", mend="the variant did not run to its end: see its row"
    )
    assert size.met is True and size.mend == ""
    assert memory == Criterion(name="peak memory", limit=3.0, unit="MB", mend="only Linux and macOS tell it")
    assert drop == Criterion(name=DROP, limit=4.0, unit="points", mend="name the teacher: --teacher T")
    blind = chosen.model_copy(update={"top1": None})
    (drop,) = asked_for([row("teacher", 0.6, 1.0), blind], blind, {"accuracy_drop": 4.0})
    assert (drop.met, drop.mend) == (None, "the variant has no accuracy: see its row")


def test_another_machines_figures_are_withheld():
    chosen = row("exported int8", 0.5, 10.0, peak_memory_mb=1.0)
    found = asked_for([chosen], chosen, {"latency_ms": 99.0, "memory_mb": 99.0}, withheld="it is a toaster")
    assert [(one.met, one.measured) for one in found] == [(None, None)] * 2
    assert {one.mend for one in found} == {"it is a toaster"}


def test_a_variant_that_failed_meets_nothing():
    chosen = row("exported int8", 0.5, 1.0, failed="it crashed")
    first, *_ = asked_for([chosen], chosen, {"latency_ms": 99.0})
    assert first == Criterion(name="the recommended variant's failures", limit=0, measured=1, unit="crash", met=False)


@pytest.mark.parametrize(("limit", "met"), [(25.0, True), (24.9, False)])
def test_a_drop_is_judged_by_its_points(limit, met):
    teacher, chosen = answered("teacher", "1110" * 5), answered("exported fp32", "1010" * 5)
    (drop,) = asked_for([teacher, chosen], chosen, {"accuracy_drop": limit}, classes=4)
    assert (drop.measured, drop.met) == (pytest.approx(25.0), met)
    assert drop.interval == paired_interval(teacher, chosen)
    low, high = drop.interval
    assert drop.notes == [f"too few images to tell: between {low:.1f} and {high:.1f} points, 95 %"]


def test_enough_images_tell():
    teacher, chosen = answered("teacher", "1" * 900 + "0" * 100), answered("exported fp32", "1" * 890 + "0" * 110)
    for limit in (3.0, 0.1):
        (drop,) = asked_for([teacher, chosen], chosen, {"accuracy_drop": limit})
        assert drop.notes == []
    low, high = drop.interval
    for limit, doubtful in ((low, True), (high, False), (low - 0.01, False), (high - 0.01, True)):
        (drop,) = asked_for([teacher, chosen], chosen, {"accuracy_drop": limit})
        assert bool(drop.notes) == doubtful


@pytest.mark.parametrize(("classes", "told"), [(2, True), (4, False), (None, False)])
def test_a_teacher_at_chance_is_told_of(classes, told):
    teacher, chosen = answered("teacher", "10" * 500), answered("exported fp32", "10" * 500)
    (drop,) = asked_for([teacher, chosen], chosen, {"accuracy_drop": 50.0}, classes=classes)
    expected = ["the teacher itself is at chance (50.0% of 2 classes)"] if told else []
    assert [note for note in drop.notes if "chance" in note] == expected


def test_the_interval_is_agrestis_and_mins():
    """Table 2 of a paired comparison by hand: 8 lost, 2 won, of 50."""
    before, after = answered("a", "1" * 8 + "0" * 2 + "1" * 40), answered("b", "0" * 8 + "1" * 2 + "1" * 40)
    lost, won, count = 8.5, 2.5, 52
    middle = (lost - won) / count
    spread = 1.959964 * ((lost + won - (lost - won) ** 2 / count) ** 0.5) / count
    assert paired_interval(before, after) == pytest.approx((100 * (middle - spread), 100 * (middle + spread)))


@pytest.mark.parametrize(("fraction", "count", "low", "high"), [(0.5, 100, 0.4038, 0.5962), (0.0, 10, 0.0, 0.2775)])
def test_wilsons_interval_is_the_published_one(fraction, count, low, high):
    assert wilson(fraction, count) == pytest.approx((low, high), abs=1e-4)
    assert wilson(1 - fraction, count) == pytest.approx((1 - high, 1 - low), abs=1e-4)


def test_points_and_ratios_need_both_sides():
    fast, slow = row("a", 0.6, 2.0), row("b", 0.5, 8.0)
    assert points_lost(fast, slow) == pytest.approx(10.0)
    assert points_lost(None, slow) is None
    assert points_lost(fast, slow.model_copy(update={"top1": None})) is None
    assert points_lost(fast.model_copy(update={"top1": None}), slow) is None
    assert times_as_long(slow, fast) == 4.0
    untimed = fast.model_copy(update={"timing": None})
    assert times_as_long(untimed, slow) is None and times_as_long(slow, untimed) is None


def test_at_most_and_at_least_hold_with_equality():
    assert at_most("n", 2.0, 2.0, "u") == Criterion(name="n", limit=2.0, measured=2.0, unit="u", met=True)
    assert at_most("n", 2.0, 2.1, "u", "mend").met is False
    assert at_most("n", 2.0, 2.1, "u", "mend").mend == ""
    assert at_least("n", 2.0, 2.0, "u") == Criterion(
        name="n", limit=2.0, measured=2.0, unit="u", met=True, better="higher"
    )
    assert at_least("n", 2.0, 1.9, "u", "mend").met is False
    assert at_least("n", 2.0, 1.9, "u", "mend").mend == ""
    for kind in (at_most, at_least):
        assert (kind("n", 2.0, None, "u", "mend").met, kind("n", 2.0, None, "u", "mend").mend) == (None, "mend")
