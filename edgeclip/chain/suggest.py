"""What to try next: where a latency budget was missed, a variant that was measured, else a student that is predicted;
where the machine is much faster than its profile says, the larger student that it affords.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from ..base.errors import EdgeclipError
from ..reporting.criteria import BUSY
from .steps import command_of

if TYPE_CHECKING:
    from ..measurement.schema import Row
    from ..profiling.schema import Budget, Profile
    from ..reporting.schema import Next, Report
    from ..towers.spec import StudentSpec

SHORTER = 0.97  # a student that is predicted to fit by less than this may just miss it


def suggest(report: Report, profile: Profile, limits: Budget, bundle: Path) -> list[Next]:
    """The next variant of this bundle, or else the next student, that should meet the limits that judged.

    The prediction is corrected by what this report found: a student that ran twice as long as predicted halves the
    budget that the next one is chosen for.
    """
    line = next((line for line in report.criteria if line.kind == "latency" and line.met is not None), None)
    chosen = next(row for row in report.rows if row.recommended)
    if line is None or chosen.timing is None:
        return []
    if line.met:
        return _larger(report, profile, limits)
    variants = [row for row in report.rows if row.stage.startswith("exported") and not row.recommended]
    fitting = [row for row in variants if row.timing and row.timing.p90_ms <= line.limit]
    if fitting:
        return [_variant(max(fitting, key=lambda row: row.top1 or 0), bundle)]
    return _student(report, profile, limits, chosen)


def _variant(row: Row, bundle: Path) -> Next:
    from ..reporting.schema import Next

    assert row.timing is not None  # only timed rows fit
    precision = row.stage.removeprefix("exported ")
    command = shlex.join(["edgeclip", "measure", str(bundle), "--precision", precision])
    return Next(what=f"the {precision} variant", p50_ms=row.timing.p50_ms, known="measured", command=command)


def _student(report: Report, profile: Profile, limits: Budget, chosen: Row) -> list[Next]:
    """A smaller one, where one exists; else the advice about the line says what is left to do."""
    from ..reporting.schema import Next

    assert chosen.timing is not None and limits.latency_ms is not None  # a latency was missed
    optimism = chosen.timing.p50_ms / chosen.predicted_ms if chosen.predicted_ms else 1.0
    within = min(limits.latency_ms, limits.latency_ms * SHORTER / optimism)
    spec, command = _selected(report, profile, limits, within)
    if spec is None:
        return []
    what = f"the student {spec.name} in {spec.precision}"
    return [Next(what=what, p50_ms=(spec.predicted_ms or 0) * optimism, known="predicted", command=command)]


def _larger(report: Report, profile: Profile, limits: Budget) -> list[Next]:
    """A more accurate one, where the machine is so much faster than when it was profiled that one fits."""
    from ..reporting.schema import Next

    score, reference = report.student.get("score"), report.reference
    if score is None or reference is None or reference.profile_ms is None or limits.latency_ms is None:
        return []
    pace = reference.p50_ms / reference.profile_ms
    if pace > 1 / BUSY:
        return []
    spec, command = _selected(report, profile, limits, limits.latency_ms * SHORTER / pace)
    if spec is None or (spec.score or 0) <= score:
        return []
    what = f"the larger student {spec.name} in {spec.precision}, which this machine affords as fast as it is now"
    return [Next(what=what, p50_ms=(spec.predicted_ms or 0) * pace, known="predicted", command=command)]


def _selected(report: Report, profile: Profile, limits: Budget, within: float) -> tuple[StudentSpec | None, str]:
    """The best student for ``within`` milliseconds, no larger in input than this one, and the command that finds it."""
    from ..selection.select import best, survey

    aim = limits.model_copy(update={"latency_ms": within})
    size = int((report.student.get("vision_cfg") or {}).get("image_size", 224))
    try:
        spec = best(profile, survey(profile, max_image_size=size), aim, 1)[0]
    except EdgeclipError:
        return None, ""
    options = {"latency_ms": within, "memory_mb": limits.memory_mb, "size_mb": limits.size_mb}
    shown = {name: f"{limit:.3g}" for name, limit in options.items() if limit is not None}
    command = command_of("edgeclip select", profile=profile.opened_as, image_size=size, **shown, out="student.json")
    return spec, command
