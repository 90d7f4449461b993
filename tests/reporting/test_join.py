"""Figures of a device and of a workstation, side by side in one chain."""

import pytest

from edgeclip.base.errors import EdgeclipError
from edgeclip.measurement.schema import Figures, Finding, Judged
from edgeclip.reporting.join import held_against, join
from edgeclip.runtime.target import Runtime

from .test_report import MACHINE, row


def figures(rows, bundle="b" * 64, dataset="d" * 64, machine="a board"):
    judged = Judged(name="set", sha256=dataset, images=4, classes=3, templates=["{}"], chance=0.5) if dataset else None
    return Figures(
        name="tiny",
        bundle=bundle,
        created="2026-01-01T00:00:00+00:00",
        device=MACHINE.model_copy(update={"cpu": machine}),
        runtime=Runtime(version="1", threads=4),
        dataset=judged,
        rows=rows,
        rule="in turns",
        verified=[Finding(part="tokenizer", ok=True, detail="")],
    )


def answered(stage, answers, right, **more):
    return row(stage, right.count("1") / 4, 1.0, answers=answers, right=right, **more)


TEACHER = answered("teacher", [0, 1, 2, 2], "1110")
DEVICE = [answered("exported fp32", [0, 1, 1, 1], "1101"), answered("exported int8", [0, 1, 1, 2], "1100")]


def test_the_devices_first_row_is_held_against_the_hosts_last():
    teacher, fp32, int8 = join(figures([TEACHER], machine="a workstation"), figures(DEVICE))
    assert (teacher.where, teacher.timing) == ("host", None), "another machine's clock is no one's business"
    assert (fp32.where, fp32.timing.p50_ms, fp32.compared_to) == ("device", 1.0, "teacher")
    assert (fp32.agreement, fp32.flip_rate, fp32.lost, fp32.won) == (0.5, 0.5, 0.25, 0.25)
    assert fp32.flip_interval[0] < 0.5 < fp32.flip_interval[1]
    assert int8 == DEVICE[1]


def test_alone_a_devices_figures_are_the_chain():
    assert join(None, figures(DEVICE)) == DEVICE


def test_without_answers_only_the_name_is_known():
    assert held_against(row("teacher", 0.5, 1.0), DEVICE[0]) == {"compared_to": "teacher"}


@pytest.mark.parametrize(("fault", "why"), [({"bundle": "x" * 64}, "another bundle"), ({"dataset": "x"}, "data set")])
def test_figures_of_something_else_do_not_join(fault, why):
    with pytest.raises(EdgeclipError, match=why):
        join(figures([TEACHER]), figures(DEVICE, **fault))


def test_figures_without_a_data_set_join():
    untested = [one.model_copy(update={"right": None, "answers": [], "top1": None}) for one in DEVICE]
    assert len(join(figures([TEACHER]), figures(untested, dataset=None))) == 3


def test_what_was_lost_is_not_what_was_won():
    _, fp32, _ = join(figures([TEACHER]), figures([answered("exported fp32", [2, 2, 1, 1], "0001"), DEVICE[1]]))
    assert (fp32.lost, fp32.won) == (0.75, 0.25)
