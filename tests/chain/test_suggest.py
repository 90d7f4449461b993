"""After a missed latency budget: the variant that meets it, else the next student, with its command."""

import pytest

from edgeclip.chain.suggest import suggest
from edgeclip.measurement.schema import Reference
from edgeclip.profiling.costmodel import predict_ms
from edgeclip.profiling.schema import Budget
from edgeclip.profiling.store import load_profile
from edgeclip.selection.select import select

from ..reporting.test_report import make, row, rows

PROFILE = load_profile("x86-avx2-2core")


def next_of(report, **more):
    limits = {"latency_ms": next(line.limit for line in report.criteria if line.kind == "latency"), **more}
    return suggest(report, PROFILE, Budget(**limits), "bundles/my bundle")


def test_nothing_where_the_budget_is_met():
    assert next_of(make()) == []


def test_the_larger_student_that_a_faster_machine_affords():
    small = select(PROFILE, Budget(latency_ms=2.0), max_image_size=64, top=1)[0]
    reference = Reference(graph="vit", p50_ms=1.0, drift=0.0, profile_ms=3.0)
    fast = make(budget={"latency_ms": 2.0}).model_copy(update={"student": small.as_data(), "reference": reference})
    (found,) = next_of(fast)
    limit = float(found.command.split("--latency-ms ")[1].split()[0])
    assert limit == pytest.approx(3 * 2.0 * 0.97, rel=0.01), "in milliseconds of the profile"
    spec = select(PROFILE, Budget(latency_ms=limit), max_image_size=64, top=1)[0]
    assert spec.name in found.what and "larger" in found.what
    assert found.p50_ms == pytest.approx(spec.predicted_ms / 3)
    assert next_of(fast.model_copy(update={"student": spec.as_data()})) == [], "it is the best for so much already"
    as_profiled = reference.model_copy(update={"p50_ms": 2.9})
    assert next_of(fast.model_copy(update={"reference": as_profiled})) == []


def test_a_measured_variant_that_meets_it_comes_first():
    (found,) = next_of(make(budget={"latency_ms": 1.0}))
    assert (found.what, found.known, found.p50_ms) == ("the int8 variant", "measured", 0.9)
    assert found.command == "edgeclip measure 'bundles/my bundle' --precision int8"


def test_else_a_student_with_its_prediction_corrected_by_what_was_measured():
    twice_as_slow = row("exported fp32", 0.57, 4.0, recommended=True, predicted_ms=2.0)
    report = make(budget={"latency_ms": 2.0}, chain=[rows()[0], twice_as_slow])
    report = report.model_copy(update={"student": {"vision_cfg": {"image_size": 64}}})
    (found,) = next_of(report)
    assert found.known == "predicted"
    limit = float(found.command.split()[found.command.split().index("--latency-ms") + 1])
    assert limit == pytest.approx(2.0 * 0.97 / 2, rel=0.01)
    spec = select(PROFILE, PROFILE.budget.model_copy(update={"latency_ms": limit}), max_image_size=64, top=1)[0]
    assert spec.name in found.what
    assert found.p50_ms == pytest.approx(2 * predict_ms(PROFILE, spec.workload, spec.precision))
    assert found.p50_ms < 2.0


def test_nothing_where_no_student_is_so_fast():
    assert next_of(make(budget={"latency_ms": 0.0001}, chain=[row("exported fp32", 0.5, 1.0, recommended=True)])) == []


def test_the_next_student_meets_all_limits_that_judged_and_not_the_profiles_own():
    profile = PROFILE.model_copy(update={"budget": Budget(size_mb=0.001)})
    slow = make(budget={"latency_ms": 2.0}, chain=[row("exported fp32", 0.57, 4.0, recommended=True)])
    (found,) = suggest(slow, profile, Budget(latency_ms=2.0, size_mb=1.5), "b")
    assert "--size-mb 1.5" in found.command
    aim = Budget(latency_ms=float(found.command.split("--latency-ms ")[1].split()[0]), size_mb=1.5)
    assert select(PROFILE, aim, max_image_size=224, top=1)[0].name in found.what
