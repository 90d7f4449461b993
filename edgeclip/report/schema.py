"""``report.json``: the one truth; table, Markdown and HTML are views of it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from ..files import Document, Part


class Timing(Part):
    """One image at a time, in milliseconds, measured interleaved with the other rows."""

    p50_ms: float
    p90_ms: float
    p99_ms: float
    samples: Annotated[int, Field(gt=0)]
    raw_ms: list[float] = []  # kept for the plots, thinned to at most 500


class Row(Part):
    """One stage of the chain, from the teacher to the artefact on the device."""

    stage: str  # "teacher", "student fp32", "exported fp32", "exported fp16", "exported int8"
    top1: float  # fraction, 0..1
    top5: float
    cosine_mean: float | None = None  # to the row named in ``compared_to``
    cosine_worst: float | None = None
    compared_to: str | None = None
    agreement: float | None = None  # fraction of images with the same top-1 as ``compared_to``
    size_bytes: int
    timing: Timing
    predicted_ms: float | None = None
    peak_memory_mb: float | None = None  # of a process that encodes with it; None where it was not measured
    runtime: str  # "onnxruntime 1.32.0", "torch 2.15.0"
    recommended: bool = False


class Line(Part):
    """One line of the budget: what was asked, what was measured, and whether it was met."""

    name: str
    limit: float
    measured: float
    unit: str
    met: bool
    better: Literal["lower", "higher"] = "lower"
    why: str = ""  # where a promise, not a budget, sets the limit


class Report(Document):
    """``report.json``."""

    FORMAT: ClassVar[str] = "edgeclip-report"

    name: str
    created: str  # ISO 8601, UTC
    passed: bool
    recommended: str
    rows: Annotated[list[Row], Field(min_length=1)]
    budget: list[Line]
    dataset: dict[str, Any]  # name, images, classes, templates
    profile: dict[str, Any]  # name, provenance, predicted_ms, held_out_error
    device: dict[str, Any]
    software: dict[str, str]
    student: dict[str, Any] = {}
    commands: list[str] = []  # the command lines that made it
    advice: list[str] = []  # what to try when a line was missed
