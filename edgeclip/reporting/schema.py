"""``report.json``: the one truth; table, Markdown and HTML are views of it. ``docs/report.md`` explains every field."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field, model_validator

from ..base.documents import Document, NonNegative, Part
from ..base.visible import escape
from ..evaluation.intervals import Interval
from ..measurement.schema import Finding, Judged, Picture, Reference, Row
from ..runtime.target import Conditions, Device, Runtime

Sane = Literal["chance", "teacher", "answers", "nearer", "gain"]
Kind = Literal["ran", "verified", Sane, "latency", "size", "memory", "accuracy", "promise"]
Verdict = Literal["met", "missed", "unknown"]
# Where one of these is not met, the result is worth nothing whatever else it meets.
SANITY: tuple[Sane, ...] = get_args(Sane)
# Asked of every bundle; the others are what a user asks for.
ALWAYS: tuple[Kind, ...] = ("ran", "verified", *SANITY)


class Criterion(Part):
    """One thing that was asked for, what was measured of it, and whether it was met."""

    kind: Kind = "promise"
    name: str
    limit: float
    measured: float | None = None  # None: not measured
    unit: str
    met: bool | None = None  # None: it was not measured, or what was measured does not decide it
    better: Literal["lower", "higher"] = "lower"
    why: str = ""  # where a promise, not a budget, sets the limit
    interval: Interval | None = None  # 95 %, of what was measured
    notes: list[str] = []  # what the measurement cannot tell
    hint: str = ""  # how to measure, or to decide, what was not

    @model_validator(mode="before")
    @classmethod
    def _older(cls, data: Any) -> Any:
        """Before version 6 the hint was called ``mend``."""
        if not isinstance(data, dict) or "mend" not in data:
            return data
        return {"hint" if name == "mend" else name: value for name, value in data.items()}


class Next(Part):
    """What to try after a missed budget: a variant that was measured, or a student with its predicted latency."""

    what: str
    p50_ms: NonNegative
    known: Literal["measured", "predicted"]
    command: str


class ProfileFacts(Part):
    """The profile by which the report judges."""

    name: str
    provenance: str = "?"  # "measured" or "estimated"
    runtime: str = ""  # what it speaks for, in words
    threads: int | None = None
    held_out_error: dict[str, NonNegative] = {}  # of its cost model, relative, by precision


class Report(Document):
    """``report.json``."""

    FORMAT: ClassVar[str] = "edgeclip-report"
    VERSION: ClassVar[int] = 6
    SEALED: ClassVar[int | None] = 5

    name: str
    created: str  # ISO 8601, UTC
    verdict: Verdict  # unknown: something was not measured, or nothing was asked for
    recommended: str
    rows: Annotated[list[Row], Field(min_length=1)]
    criteria: list[Criterion]
    cautions: list[str] = []  # what to know before any figure: another device, a restless machine
    rule: str = ""  # how latency was measured
    reference: Reference | None = None
    before: Conditions = Conditions()
    after: Conditions = Conditions()
    dataset: Judged | None = None  # what accuracy is of; None: it was not measured
    profile: ProfileFacts
    device: Device
    runtime: Runtime | None = None  # what executed the variants; None: a report of before version 5
    host: Device | None = None  # where teacher and student were measured, if that is another machine
    bundle: str = ""  # sha256 of its manifest
    verified: list[Finding] = []
    software: dict[str, str]
    student: dict[str, Any] = {}  # its :class:`~edgeclip.towers.spec.StudentSpec`; empty: it has none
    commands: list[str] = []  # the command lines that made it
    advice: list[str] = []  # what to try when a line was missed
    pictures: list[Picture] = []  # some that are right, some that are wrong, some that a precision changed
    curve: list[tuple[NonNegative, NonNegative]] = []  # of the training: epoch, loss
    next: list[Next] = []  # the next student or variant, where the latency was missed

    @model_validator(mode="before")
    @classmethod
    def _nothing(cls, data: Any) -> Any:
        """Before version 6 an empty table stood for none."""
        if not isinstance(data, dict):
            return data
        return {name: None if name in ("dataset", "host") and value == {} else value for name, value in data.items()}

    def __repr__(self) -> str:
        """The verdict, and what the recommended variant reaches."""
        chosen = next((row for row in self.rows if row.recommended), None)
        figures = [f"top-1 {chosen.top1:.1%}"] if chosen and chosen.top1 is not None else []
        figures += [f"p90 {chosen.timing.p90_ms:.2f} ms"] if chosen and chosen.timing else []
        return f"Report({self.name}: {self.verdict}; {', '.join([self.recommended, *figures])})"

    def _repr_html_(self) -> str:
        """The report's page in a frame, for notebooks."""
        from .page import html  # which knows this module

        return f'<iframe srcdoc="{escape(html(self))}" width="100%" height="800" style="border: 0"></iframe>'

    @property
    def exit_code(self) -> int:
        """Of the command: 0 met, 3 missed, 4 unknown."""
        return {"met": 0, "missed": 3, "unknown": 4}[self.verdict]
