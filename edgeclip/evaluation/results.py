"""``eval.json``: what came out, with how sure one can be of it and what it was measured on."""

from __future__ import annotations

from typing import ClassVar, Literal

from ..base.documents import Count, Document, Fraction, Part

Task = Literal["zero-shot", "linear-probe", "few-shot", "retrieval"]


class ClassScore(Part):
    """How one class fared."""

    name: str
    images: Count
    recall: Fraction


class Score(Part):
    """One model on one data set. All figures but counts are fractions, 0..1."""

    model: str
    dataset: str
    task: Task
    metric: str
    value: Fraction
    low: Fraction | None = None  # 95 % interval; bootstrap over images, for few-shot none
    high: Fraction | None = None
    images: Count
    classes: Count
    templates: Count
    chance: Fraction | None = None  # top-1 of always giving the commonest class, or of guessing
    top1: Fraction | None = None
    top5: Fraction | None = None
    mean_per_class: Fraction | None = None
    calibration_error: Fraction | None = None
    more: dict[str, float] = {}  # recalls; strength of a probe; the draws of a few-shot probe
    remarks: list[str] = []  # in what the data differs from its authors'
    per_class: list[ClassScore] = []


class Missing(Part):
    """A set of a suite that was not measured."""

    dataset: str
    why: str


class Evaluation(Document):
    """``eval.json``."""

    FORMAT: ClassVar[str] = "edgeclip-eval"

    model: str
    suite: str
    scores: list[Score]
    missing: list[Missing]
    of: str = ""  # digest of what was measured, and how: an evaluation that was cut goes on only with the same

    @property
    def mean(self) -> float | None:
        """The mean of the values, which is the suite's figure only where nothing is missing."""
        return sum(score.value for score in self.scores) / len(self.scores) if self.scores else None
