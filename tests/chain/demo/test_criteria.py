"""What the demo promises, and no other report: met, missed, or unknown where a row is missing."""

import pytest

from edgeclip.chain.demo.criteria import KEPT, exit_code, promises
from edgeclip.measurement.schema import Reference
from edgeclip.reporting.criteria import at_least

from ...reporting.test_report import make, row, rows


def judged(chain):
    return {one.name: one for one in promises(chain, next(r for r in chain if r.recommended), 0.1)}


def test_a_whole_chain_is_judged():
    found = judged([*rows(), row("exported fp16", 0.57, 1.0)])
    assert all(one.met and one.why == "promise" for one in found.values())
    assert found["speed against the teacher"].measured == 10


@pytest.mark.parametrize(
    ("chain", "missed"),
    [
        (rows(cosine_mean=0.999), "exported fp32 equals the student"),
        ([row("teacher", 0.9, 10.0), *rows()[1:]], KEPT),
        ([row("teacher", 0.6, 3.0), *rows()[1:]], "speed against the teacher"),
        ([*rows()[:3], row("exported int8", 0.5, 1.0)], "top-1 that int8 loses to fp32"),
    ],
)
def test_each_can_be_missed(chain, missed):
    assert [name for name, one in judged(chain).items() if one.met is False] == [missed]


def test_a_missing_row_is_no_pass():
    found = judged(rows()[2:])
    assert found["speed against the teacher"].met is None
    assert "run the demo again" in found["speed against the teacher"].hint


def test_a_guess_keeps_nothing():
    """0.51 of 0.66 is 77 %; of what is above a chance of 0.51 it is nothing."""
    chain = [row("teacher", 0.66, 10.0), row("exported fp32", 0.51, 1.0, recommended=True)]
    (found,) = [one for one in promises(chain, chain[1], 0.51) if one.name == KEPT]
    assert (found.measured, found.met) == (0.0, False)
    (blind,) = [one for one in promises(chain, chain[1], 0.7) if one.name == KEPT]
    assert blind.met is None and "chance" in blind.hint


def test_a_users_report_is_not_judged_by_them():
    assert not [one for one in make(budget={"latency_ms": 1.5}).criteria if one.kind == "promise"]


def test_a_busy_machine_is_a_note_and_not_a_failure():
    slow = Reference(graph="r", p50_ms=30.0, drift=0.0, profile_ms=10.0)
    late = {"budget": {"latency_ms": 0.5}, "reference": slow}
    report = make(**late)
    assert (report.verdict, report.exit_code, exit_code(report)) == ("unknown", 4, 0)
    assert exit_code(make(budget={"latency_ms": 0.2}, reference=slow)) == 3, "too slow at any pace"
    assert exit_code(make()) == 0
    assert exit_code(make(budget={})) == 4, "nothing was asked for"
    assert exit_code(make(budget={"latency_ms": 0.5, "memory_mb": 1.0}, reference=slow)) == 4, "not measured"
    assert exit_code(make(**late, more=[at_least("promise", "p", 1, None, "x")])) == 4
    no_time = [r.model_copy(update={"timing": None}) for r in rows()]
    assert exit_code(make(chain=no_time)) == 4, "no latency is no mood"
