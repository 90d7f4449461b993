"""From measured rows to a verdict: what was asked for, what is doubtful about the figures, and advice."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from ..measurement.schema import Finding, Reference, Row
from .criteria import BUSY, RESTLESS, asked_always, asked_for
from .sanity import sanity
from .schema import ALWAYS, Criterion, Report

DRIFTED = 0.15  # beyond, figures are doubtful
MENDS = {
    "ran": "see the variant's row; export it anew on this device, or leave it out",
    "verified": "this device does not give what was exported: copy or export the bundle again, and verify it there",
    "chance": "train it longer, or on more",
    "latency": "take a faster variant or student",
    "size": "take a smaller variant or student",
    "memory": "take a smaller variant or student",
    "accuracy": "train longer (epochs), on more images, or allow a slower student",
    "promise": "see its row",
}


def report(
    rows: Sequence[Row],
    *,
    name: str,
    budget: Mapping[str, float],
    dataset: dict[str, Any],
    profile: dict[str, Any],
    device: dict[str, Any],
    software: dict[str, str],
    verified: Sequence[Finding],
    more: Sequence[Criterion] = (),
    cautions: Sequence[str] = (),
    withheld: str = "",
    few_images: bool = False,
    **facts: Any,
) -> Report:
    """Judge the rows by what was asked for. What was not measured is unknown, and unknown is not met.

    Args:
        rows: the chain, as :func:`edgeclip.measurement.chain.measure` returns it; exactly one is ``recommended``.
        name: what was measured.
        budget: limits by name: latency_ms (p90), memory_mb, size_mb, accuracy_drop (points); absent means not asked.
        dataset: facts for the reader, ``chance`` and ``classes`` among them; likewise ``profile``, ``device`` and
            ``software``.
        verified: what the device gave of what was recorded at export.
        more: criteria of the caller's own.
        cautions: what a reader must know first.
        withheld: why this machine's latency and memory do not count.
        few_images: accuracy is judged by its point value, however few images it is of.
        facts: other fields of the report: ``student``, ``commands``, ``rule``, ``reference``, ``before``, ``after``.
    """
    chosen = next(row for row in rows if row.recommended)
    asked: dict[str, Any] = {"chance": dataset.get("chance"), "withheld": withheld, "few_images": few_images}
    asked["pace"] = _pace(facts.get("reference"))
    criteria = [*asked_for(rows, chosen, budget, **asked), *more]
    criteria += asked_always(rows, chosen, verified)
    criteria += sanity(rows, chosen, dataset, student=bool(facts.get("student")), few_images=few_images)
    return Report(
        name=name,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        verdict=verdict_of(criteria),
        recommended=chosen.stage,
        rows=list(rows),
        criteria=criteria,
        cautions=[*cautions, *_doubts(facts.get("reference"), chosen)],
        dataset=dataset,
        profile=profile,
        device=device,
        software=software,
        verified=list(verified),
        **facts,
        advice=[_advice(one) for one in criteria if not one.met],
    )


def verdict_of(criteria: Sequence[Criterion]) -> Any:
    """``missed`` where one was; else ``unknown`` where one is open, or nothing was asked for; else ``met``."""
    answers = [one.met for one in criteria]
    asked = any(one.kind not in ALWAYS for one in criteria)
    return "missed" if False in answers else "unknown" if None in answers or not asked else "met"


def _pace(reference: Reference | None) -> float:
    """How many times as slow the machine was as for its profile; 1 where nobody knows."""
    return reference.p50_ms / reference.profile_ms if reference and reference.profile_ms else 1.0


def _doubts(reference: Reference | None, chosen: Row) -> list[str]:
    """Where the machine was not itself while it was measured, say so first of all."""
    told = []
    if reference:
        slower = _pace(reference)
        if slower <= 1 / BUSY:
            told.append(
                f"the machine was {1 / slower:.1f} times as fast as for its profile: profile it again, a larger student"
                " may fit"
            )
        if slower >= BUSY:
            told.append(
                f"the machine was {slower:.1f} times as slow as for its profile: measure when nothing else runs"
            )
        if abs(reference.drift) >= DRIFTED:
            told.append(f"the machine drifted by {reference.drift:+.0%} meanwhile: measure it at rest")
    if chosen.timing and chosen.timing.p99_ms > RESTLESS * chosen.timing.p50_ms:
        ratio = chosen.timing.p99_ms / chosen.timing.p50_ms
        told.append(f"single calls differ widely: p99 is {ratio:.1f} times p50")
    return told


def _advice(one: Criterion) -> str:
    """What to try about a criterion that was missed, or how to measure or decide it."""
    if one.met is None:
        return f"{one.name}: {'not measured' if one.measured is None else 'not decided'}; {one.mend}"
    assert one.measured is not None  # what is missed was measured
    told = f"{one.name}: {one.measured:.4g} {one.unit}, asked for {one.limit:.4g}"
    return f"{told}: {one.mend or MENDS[one.kind]}"
