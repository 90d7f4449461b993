"""What the demo promises of itself, beside its budget; no other report is judged by this."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...measurement.schema import Row
    from ...reporting.schema import Criterion, Report

FASTER = 4.0  # than the teacher's image tower
RETAINED = 0.90  # of what the teacher's top-1 has above chance
KEPT = "top-1 above chance that is kept of the teacher's"
EQUAL = 0.99999  # mean cosine of the exported fp32 to the student
LOST = 1.5  # points of top-1 that int8 may lose to fp32
NOISE = 1.05  # two runs of one graph differ by as much


def exit_code(report: Report) -> int:
    """Of the demo: as the report's, but 0 where nothing is open but milliseconds that a busy machine cannot decide.

    What the demo promises of time is a ratio, taken in turns, which holds on any machine.
    """
    still_open = [criterion for criterion in report.criteria if criterion.met is None]
    moody = {criterion.kind for criterion in still_open} == {"latency"} and all(
        criterion.measured is not None for criterion in still_open
    )
    return 0 if report.verdict == "unknown" and moody else report.exit_code


def promises(rows: Sequence[Row], chosen: Row, chance: float) -> list[Criterion]:
    """The criteria; each is unknown where a row that it needs is missing, or says nothing above ``chance``."""
    from ...evaluation.chance import kept_above_chance
    from ...reporting.criteria import at_least, at_most, points_lost, times_as_long

    by_stage = {row.stage: row for row in rows}
    teacher, fp32 = by_stage.get("teacher"), by_stage.get("exported fp32")
    kept = None
    if teacher and teacher.top1 is not None and chosen.top1 is not None:
        kept = kept_above_chance(chosen.top1, teacher.top1, chance)
    cosine = fp32.cosine_mean if fp32 and fp32.compared_to == "student fp32" else None
    faster = times_as_long(teacher, chosen) if teacher else None
    int8 = by_stage.get("exported int8")
    lost = points_lost(fp32, int8) if int8 else None
    slower = times_as_long(chosen, fp32) if fp32 else None
    no_teacher, no_student = (f"the {who} has no row: run the demo again" for who in ("teacher", "student"))
    words = {
        "choose one by a lower --latency-ms": at_least(
            "promise", "speed against the teacher", FASTER, faster, "x", no_teacher
        ),
        "train longer (epochs), on more images, or allow a slower student": at_least(
            "promise", KEPT, 100 * RETAINED, None if kept is None else 100 * kept, "%", f"at chance, or {no_teacher}"
        ),
        "export it again, and report what differs": at_least(
            "promise", "exported fp32 equals the student", EQUAL, cosine, "cosine", no_student
        ),
        "leave this variant out, or calibrate on more images": at_most(
            "promise", "top-1 that int8 loses to fp32", LOST, lost, "points", "the variant was left out"
        ),
        "measure again when nothing else runs": at_most(
            "promise", "recommended variant's time over fp32's", NOISE, slower, "x", "fp32 has no row"
        ),
    }
    return [
        criterion.model_copy(update={"why": "promise", **({"hint": advice} if criterion.met is False else {})})
        for advice, criterion in words.items()
    ]
