"""From measured rows to a verdict: what was asked for, what is doubtful about the figures, and advice."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from ..measurement.schema import Finding, Judged, Reference, Row
from ..runtime.target import Conditions, Device, Runtime
from .criteria import BUSY, RESTLESS, asked_always, asked_for
from .sanity import sanity
from .schema import ALWAYS, Criterion, ProfileFacts, Report, Verdict

DRIFTED = 0.15  # beyond, figures are doubtful
HINTS = {
    "ran": "see the variant's row; export it again on this device, or remove it",
    "verified": "this device does not reproduce the export: copy or export the bundle again, and verify it there",
    "chance": "train it longer, or on more",
    "latency": "take a faster variant or student",
    "size": "take a smaller variant or student",
    "memory": "take a smaller variant or student",
    "accuracy": "train longer (epochs), on more images, or allow a slower student",
    "promise": "see its row",
}


@dataclass(frozen=True)
class Subject:
    """What a report is of: fields of :class:`~edgeclip.reporting.schema.Report` that are shown and not judged.

    Args:
        name: what was measured.
        dataset: what accuracy is of; None where it was not measured.
        profile: what it is judged by.
        device: the machine that the verdict is about; ``host``: where teacher and student were measured, if another.
        student: its spec, as data; empty where a model was exported as it is.
        software: what made it, by name and version.
        runtime: what executed the variants.
        bundle: sha256 of its manifest.
        rule: how latency was measured; ``reference``, ``before`` and ``after``: how the machine was meanwhile.
    """

    name: str
    dataset: Judged | None
    profile: ProfileFacts
    device: Device
    software: dict[str, str]
    host: Device | None = None
    student: dict[str, Any] = field(default_factory=dict)
    runtime: Runtime | None = None
    bundle: str = ""
    rule: str = ""
    reference: Reference | None = None
    before: Conditions = field(default_factory=Conditions)
    after: Conditions = field(default_factory=Conditions)


def build_report(
    rows: Sequence[Row],
    subject: Subject,
    budget: Mapping[str, float],
    *,
    verified: Sequence[Finding],
    more: Sequence[Criterion] = (),
    cautions: Sequence[str] = (),
    withheld: str = "",
    few_images: bool = False,
) -> Report:
    """Judge the rows by what was asked for. What was not measured is unknown, and unknown is not met.

    Args:
        rows: the chain, as :func:`edgeclip.measurement.chain.run_chain` returns it; exactly one is ``recommended``.
        subject: what it is of.
        budget: limits by name: latency_ms (p90), memory_mb, size_mb, accuracy_drop (points); absent means not asked.
        verified: what the device gave of what was recorded at export.
        more: criteria of the caller's own.
        cautions: what a reader must know first.
        withheld: why this machine's latency and memory do not count.
        few_images: accuracy is judged by its point value, however few images it is of.
    """
    chosen = next(row for row in rows if row.recommended)
    chance, pace = subject.dataset.chance if subject.dataset else None, _pace(subject.reference)
    criteria = asked_for(rows, chosen, budget, chance=chance, withheld=withheld, few_images=few_images, pace=pace)
    criteria += more
    criteria += asked_always(rows, chosen, verified)
    criteria += sanity(rows, chosen, subject.dataset, student=bool(subject.student), few_images=few_images)
    return Report(
        **{item.name: getattr(subject, item.name) for item in fields(subject)},
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        verdict=verdict_of(criteria),
        recommended=chosen.stage,
        rows=list(rows),
        criteria=criteria,
        cautions=[*cautions, *_doubts(subject.reference, chosen)],
        verified=list(verified),
        advice=[_advice(item) for item in criteria if not item.met],
    )


def verdict_of(criteria: Sequence[Criterion]) -> Verdict:
    """``missed`` where one was; else ``unknown`` where one is open, or nothing was asked for; else ``met``."""
    answers = [criterion.met for criterion in criteria]
    limited = any(criterion.kind not in ALWAYS for criterion in criteria)
    return "missed" if False in answers else "unknown" if None in answers or not limited else "met"


def _pace(reference: Reference | None) -> float:
    """How many times as slow the machine was as for its profile; 1 where nobody knows."""
    return reference.p50_ms / reference.profile_ms if reference and reference.profile_ms else 1.0


def _doubts(reference: Reference | None, chosen: Row) -> list[str]:
    """Where the machine was not itself while it was measured, say so first of all."""
    doubts = []
    if reference:
        slower = _pace(reference)
        if slower <= 1 / BUSY:
            doubts.append(
                f"the machine was {1 / slower:.1f} times as fast as for its profile: profile it again, a larger student"
                " may fit"
            )
        if slower >= BUSY:
            doubts.append(
                f"the machine was {slower:.1f} times as slow as for its profile: measure when nothing else runs"
            )
        if abs(reference.drift) >= DRIFTED:
            doubts.append(
                f"the machine's speed changed by {reference.drift:+.0%} during the measurement: measure again when idle"
            )
    if chosen.timing and chosen.timing.p99_ms > RESTLESS * chosen.timing.p50_ms:
        ratio = chosen.timing.p99_ms / chosen.timing.p50_ms
        doubts.append(f"single calls differ widely: p99 is {ratio:.1f} times p50")
    return doubts


def _advice(criterion: Criterion) -> str:
    """What to try about a criterion that was missed, or how to measure or decide it."""
    if criterion.met is None:
        return f"{criterion.name}: {'not measured' if criterion.measured is None else 'not decided'}; {criterion.hint}"
    assert criterion.measured is not None  # what is missed was measured
    advice = f"{criterion.name}: {criterion.measured:.4g} {criterion.unit}, asked for {criterion.limit:.4g}"
    return f"{advice}: {criterion.hint or HINTS[criterion.kind]}"
