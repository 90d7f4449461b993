"""What a device answers, each reply a document with a schema: a device may be broken, or another than it says."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from ..base.documents import Count, NonNegative, Positive
from ..base.errors import EdgeclipError
from ..runtime.target import Conditions, Device
from ..runtime.timing import percentiles
from .bench import Plan
from .links import LARGEST
from .results import BenchResult

SHOWN = 80  # characters of an answer that is none
FAULTS = 3  # of an answer, that are told
Words = Annotated[str, Field(max_length=2000)]
T = TypeVar("T")


class Reply(BaseModel):
    """An answer: nothing in it that is not asked for, no NaN, no number as text."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)


class Look(Reply):
    """What is there, and where edgeclip may keep its files."""

    missing: list[Words]
    base: Annotated[str, Field(min_length=1, max_length=4096)]
    edgeclip: bool
    free: Count


class Blob(Reply):
    """How much of a file is there."""

    whole: bool
    part: Count


class Claim(Reply):
    """Who has the device; empty where it is ours."""

    holder: Annotated[str, Field(max_length=200)]


class JobStarted(Reply):
    """How the runner ended that started a job, or found it running."""

    status: int
    out: Annotated[str, Field(max_length=4000)]
    complaint: Annotated[str, Field(max_length=4000)]


class Finished(Reply):
    """Whether what was sent is what was meant."""

    good: bool


class Made(Reply):
    """Nothing but that it was done."""


class Kept(Reply):
    """Bytes that stay for the next time."""

    kept: Count


class State(Reply):
    """Of a job."""

    state: Literal["running", "finished", "died"]
    why: str = ""


class Event(Reply):
    """What a job is doing."""

    text: Words
    done: NonNegative
    steps: Positive


class Given(Reply):
    """What a device gave for the recorded inputs, beside the arrays."""

    towers: list[Literal["text", "fp32", "fp16", "int8"]]
    failed: dict[str, Words]
    left_out: list[Words]


class Ran(Reply):
    """How a command ended."""

    status: int
    why: str


class Opened(Reply):
    """What it took to open a graph."""

    engine: Words
    version: Words
    import_ms: NonNegative
    load_ms: NonNegative
    first_ms: NonNegative
    peak_memory_mb: Positive | None
    asked_provider: Words
    providers: Annotated[list[Words], Field(min_length=1, max_length=50)]


class EndToEnd(Reply):
    """From a file to an embedding."""

    image: Words
    total_ms: dict[str, NonNegative]
    decode_ms: NonNegative
    preprocess_ms: NonNegative
    inference_ms: NonNegative


class Spot(Reply):
    """An operator's share."""

    operator: Words
    share: Annotated[float, Field(ge=0, le=1)]
    nodes: Count


class HotSpots(Reply):
    """Where the time goes."""

    operators: Annotated[list[Spot], Field(max_length=1000)]
    fell_back: Annotated[list[Words], Field(max_length=1000)]
    on_provider: Annotated[float, Field(ge=0, le=1)] | None = None


class Embedded(Reply):
    """How many images were embedded, and which could not be read."""

    images: Count
    broken: list[Count]


class Energy(Reply):
    """What an image takes."""

    millijoules_per_image: NonNegative
    sensor: Words


class Sustained(Reply):
    """Without a break."""

    seconds: NonNegative
    window_seconds: NonNegative
    last_over_first: NonNegative
    each_second: list[tuple[NonNegative, NonNegative]]
    after: Conditions


class Row(Reply):
    """What was measured of a tower. Its percentiles are taken anew, from its samples."""

    failed: str | None = None
    opened: Opened | None = None
    latency: dict[str, NonNegative] | None = None
    samples_ms: Annotated[list[Positive], Field(max_length=10**6)] = []
    turns: list[tuple[NonNegative, NonNegative]] = []
    throughput: dict[Literal["1", "8", "32"], Positive] = {}
    end_to_end: EndToEnd | None = None
    hot_spots: HotSpots | None = None
    embeds: Embedded | None = None
    energy: Energy | None = None
    sustained: Sustained | None = None

    @model_validator(mode="after")
    def _counted(self) -> Row:
        if (self.latency is not None) != bool(self.samples_ms) or (self.latency is not None) != bool(self.turns):
            raise ValueError("latency, samples_ms and turns come together")
        self.latency = percentiles(self.samples_ms) if self.samples_ms else None
        return self


class Benched(Reply):
    """What was measured of all."""

    rows: dict[str, Row]
    reference: Row | None
    rule: Words
    before: Conditions
    after: Conditions
    machine: Device

    @model_validator(mode="after")
    def _of_what_was_sent(self) -> Benched:
        for name, row in self.rows.items():
            if row.failed is None and (row.opened is None or row.latency is None):
                raise ValueError(f"{name}: it did not fail, and was not measured")
        return self


def read_reply(name: str, what: str, text: str | bytes, kind: type[T]) -> T:
    """The answer of the device ``name`` about ``what``, whatever its shell's greeting printed before it.

    Raises:
        EdgeclipError: it is no JSON, too long or too deep, or not such an answer; the text names the part.
    """
    if len(text) > LARGEST:
        raise EdgeclipError(f"{name}: its answer about {what} has {len(text):,} bytes, far too many")
    shown = text[:SHOWN]
    try:
        data: Any = json.loads(text.strip().splitlines()[-1])
    except (ValueError, IndexError, RecursionError):
        raise EdgeclipError(f"{name}: it answers {shown!r} about {what}, where JSON was expected") from None
    try:
        return TypeAdapter(kind).validate_json(json.dumps(data), strict=True)
    except (ValidationError, ValueError, RecursionError) as error:
        faults = error.errors() if isinstance(error, ValidationError) else [{"loc": (), "msg": str(error)}]
        complaints = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults[:FAULTS])
        raise EdgeclipError(f"{name}: its answer about {what} is not valid: {complaints:.500}") from None


def refuse_others(name: str, reply: Benched, plan: Plan) -> None:
    """Refuse an answer about other towers, or other images, than were sent.

    Raises:
        EdgeclipError: it is one.
    """
    if reply.rows.keys() != plan.towers.keys():
        raise EdgeclipError(f"{name}: it measured {', '.join(reply.rows) or 'nothing'}, not what was sent")
    count = len(plan.images)
    for tower, row in reply.rows.items():
        if row.embeds and (row.embeds.images != count or any(number >= count for number in row.embeds.broken)):
            raise EdgeclipError(f"{name}: {tower} embedded {row.embeds.images} images, of {count} that were sent")


def result_of(reply: Benched) -> BenchResult:
    """The answer as :func:`edgeclip.measurement.bench.bench` returns it."""
    return TypeAdapter(BenchResult).validate_python(reply.model_dump())
