"""What one machine measured of a bundle: figures, their rows, and what they are of."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from ..base.documents import ClassChange, Cosine, Count, Document, Fraction, NonNegative, Part, Size
from ..evaluation.intervals import Interval
from ..runtime.target import Conditions, Device, Runtime

SAME = 1e-6  # of fractions
CUTS = (50, 90, 95, 99, 100)
ROUNDED = 1e-3  # ms: samples are written with four digits


class Timing(Part):
    """One image at a time, in milliseconds, measured in turns with the other rows."""

    p50_ms: NonNegative
    p90_ms: NonNegative
    p95_ms: NonNegative
    p99_ms: NonNegative
    max_ms: NonNegative
    spread: NonNegative  # (p90 - p10) / p50
    samples: Size
    raw_ms: list[NonNegative] = []  # every sample, in order
    turns: list[tuple[NonNegative, NonNegative]] = []  # seconds since the start, p50 of that turn

    @model_validator(mode="after")
    def _consistent(self) -> Timing:
        percentiles = [self.p50_ms, self.p90_ms, self.p95_ms, self.p99_ms, self.max_ms]
        if percentiles != sorted(percentiles):
            raise ValueError("percentiles are not in order")
        if self.raw_ms and len(self.raw_ms) != self.samples:
            raise ValueError(f"samples: {self.samples}, but there are {len(self.raw_ms)}")
        if self.raw_ms and not np.allclose(percentiles, np.percentile(self.raw_ms, CUTS), rtol=1e-3, atol=ROUNDED):
            raise ValueError("percentiles are not those of the samples")
        return self


class EndToEnd(Part):
    """From an image file's bytes to its embedding: medians, ms."""

    image: str
    total_ms: NonNegative
    total_p90_ms: NonNegative
    decode_ms: NonNegative
    preprocess_ms: NonNegative
    inference_ms: NonNegative


class HotSpot(Part):
    """A kind of operator: its share of the graph's time, 0..1, and how many nodes are of it."""

    operator: str
    share: Fraction
    nodes: Count


class Sustained(Part):
    """Running without a break: does the machine keep its pace?"""

    seconds: NonNegative
    window_seconds: NonNegative  # of the beginning and the end that are compared
    last_over_first: NonNegative  # p50 of the last window over that of the first
    each_second: list[tuple[NonNegative, NonNegative]] = []  # seconds since the start, p50


class Row(Part):
    """One stage of the chain, from the teacher to the artefact on the device."""

    stage: str  # "teacher", "student fp32", "exported fp32", "exported fp16", "exported int8"
    where: Literal["device", "host"] = "device"  # where it ran: a row of the host has no timing of the device
    failed: str | None = None  # why it could not be measured to the end: a crash, for one
    top1: Fraction | None = None  # fraction, 0..1
    top5: Fraction | None = None  # None where there are five classes or fewer, too
    mean_per_class: Fraction | None = None
    top1_interval: Interval | None = None  # 95 %, Wilson
    calibration_error: Fraction | None = None  # how far the probabilities are from how often they come true
    right: str | None = None  # an image a character, 1 where the best label was right: rows are compared in pairs
    answers: list[Count] = []  # the number of each image's best label
    cosine_mean: Cosine | None = None  # to the row named in ``compared_to``
    cosine_worst: Cosine | None = None
    nearer: Interval | None = None  # 95 %, how much nearer it is to the same image's embedding there than to another's
    compared_to: str | None = None
    agreement: Fraction | None = None  # fraction of images with the same top-1 as ``compared_to``
    flip_rate: Fraction | None = None  # 1 - agreement
    flip_interval: Interval | None = None  # 95 %, Wilson
    lost: Fraction | None = None  # fraction that ``compared_to`` had right and this has wrong
    won: Fraction | None = None  # the other way round
    p_value: Fraction | None = None  # of McNemar's test of these two
    losers: list[ClassChange] = []  # against ``compared_to``, most images first
    winners: list[ClassChange] = []
    broken: list[tuple[str, str, Count]] = []  # (what an image shows, what it is now taken for, images), most first
    size_bytes: Count  # 0: nobody can tell, as of a plug-in that only encodes
    timing: Timing | None = None
    import_ms: NonNegative | None = None  # of the runtime's library
    load_ms: NonNegative | None = None  # of the graph
    first_ms: NonNegative | None = None  # the first inference after loading
    end_to_end: EndToEnd | None = None
    throughput: dict[str, NonNegative] = {}  # images a second by batch size
    predicted_ms: NonNegative | None = None  # p50, by the profile
    peak_memory_mb: NonNegative | None = None  # of a process that encodes with it; None where it was not measured
    energy_mj: NonNegative | None = None  # millijoules an image, idle power included; None: not measured
    energy_sensor: str | None = None
    sustained: Sustained | None = None
    hot_spots: list[HotSpot] = []
    fell_back: list[str] = []  # operators that ran on another provider than the one asked for
    on_provider: Fraction | None = None  # share of the time on the one asked for; None: not told
    provider: str | None = None  # asked for; ``providers`` are those that the runtime took
    providers: list[str] = []
    runtime: str  # "onnxruntime 1.32.0", "torch 2.15.0"
    recommended: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Row:
        if self.right is None:
            return self
        if not self.right or set(self.right) - {"0", "1"} or (self.answers and len(self.answers) != len(self.right)):
            raise ValueError("right: a character an image, 0 or 1, as many as answers")
        share = self.right.count("1") / len(self.right)
        if self.top1 is None or abs(self.top1 - share) > SAME:
            raise ValueError(f"top1: {self.top1}, but {share:.6f} of the answers are right")
        low, high = self.top1_interval or (share, share)
        if not low - SAME <= share <= high + SAME:
            raise ValueError("top1_interval: top1 lies outside")
        return self


class Finding(Part):
    """Something that was recorded at export, held against what the device gives."""

    part: str  # "tokenizer", "preprocessing", "text tower", "image tower int8"
    ok: bool | None = None  # None: it was not checked
    detail: str  # what differs, and by how much
    ran: bool = True  # else the device cannot run it: an engine that is too old, too little memory

    @property
    def told(self) -> str:
        """What is the matter, in words."""
        return f"{self.part} {'differs from what was recorded at export' if self.ran else 'cannot run'}: {self.detail}"


class Verification(Part):
    """What a device gave of what was recorded at export."""

    verified: bool  # no part differs
    findings: list[Finding]


class Reference(Part):
    """A graph that is the same in every report: how fast this machine was, and how far it drifted meanwhile."""

    graph: str
    p50_ms: NonNegative
    drift: Annotated[float, Field(ge=-1)]  # p50 of the last third of its turns over that of the first third, minus 1
    turns: list[tuple[NonNegative, NonNegative]] = []
    profile_ms: NonNegative | None = None  # what it took when the profile was made


class Judged(Part):
    """The labelled images that accuracy is of."""

    name: str
    sha256: str  # of its classes, templates, images and labels
    images: Size
    classes: Size
    templates: list[str]
    chance: Fraction  # what always giving the commonest class, or guessing, gets right
    effective_classes: Annotated[float, Field(ge=1)] | None = None  # by share; None where an image may be of several
    copies: Count = 0  # further files of the same picture and class, which were left out
    names: list[str] = []  # of the classes
    labels: list[Count] = []  # the class of each image that could be read, by number: rows' answers are in their order

    @model_validator(mode="after")
    def _known_classes(self) -> Judged:
        if self.names and len(self.names) != self.classes:
            raise ValueError(f"names: {len(self.names)} of {self.classes} classes")
        if self.labels and max(self.labels) >= self.classes:
            raise ValueError(f"labels: none of the {self.classes} classes")
        return self


class Picture(Part):
    """A small copy of one of the images, for people to look at."""

    image: Count  # its number among those that could be read
    key: str  # its file's name
    jpeg: Annotated[str, Field(max_length=1 << 15, pattern=r"^[A-Za-z0-9+/]+=*$")]  # base64


class Figures(Document):
    """What one machine measured of one bundle; a report joins those of several machines."""

    FORMAT: ClassVar[str] = "edgeclip-figures"
    VERSION: ClassVar[int] = 2
    SEALED: ClassVar[int | None] = 2

    name: str  # of the bundle
    bundle: str  # sha256 of its manifest, which holds those of its files
    created: str  # ISO 8601, UTC
    device: Device  # the machine
    runtime: Runtime | None = None  # what executed the variants; None: nothing was timed
    dataset: Judged | None = None
    verified: list[Finding] = []  # before anything else
    recommended: str | None = None  # the fastest faithful precision here; None: not all were measured
    rows: Annotated[list[Row], Field(min_length=1)]
    rule: str  # how latency was measured
    reference: Reference | None = None
    before: Conditions = Conditions()
    after: Conditions = Conditions()

    @model_validator(mode="before")
    @classmethod
    def _older(cls, data: Any) -> Any:
        if isinstance(data, dict) and "threads" in data and "runtime" not in data:
            raise ValueError("they are of an older edgeclip and do not say what engine ran: measure again")
        return data

    @model_validator(mode="after")
    def _consistent(self) -> Figures:
        if self.runtime and not self.verified:
            raise ValueError("verified: nothing was, before it was measured")
        counts = {len(row.right) for row in self.rows if row.right is not None}
        if counts and self.dataset is None:
            raise ValueError("dataset: missing, where rows have answers")
        if self.dataset and any(count > self.dataset.images for count in counts):
            raise ValueError(f"right: more answers than the data set's {self.dataset.images} images")
        if self.dataset and any(answer >= self.dataset.classes for row in self.rows for answer in row.answers):
            raise ValueError(f"answers: none of the data set's {self.dataset.classes} classes")
        best = [row.stage for row in self.rows if row.recommended]
        if best != ([f"exported {self.recommended}"] if self.recommended else []):
            raise ValueError("recommended: the rows say another")
        return self

    @property
    def wrong(self) -> list[Finding]:
        """What this machine does not give as it was recorded."""
        return [finding for finding in self.verified if finding.ok is False]
