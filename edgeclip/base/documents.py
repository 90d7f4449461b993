"""The files between the stages: versioned, and read with every fault reported at once."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar, get_args

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import FormatError, did_you_mean
from .files import json_of, write_text
from .lines import read_text
from .seal import SEAL, is_whole, sealed

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MOST = 1e15  # no number in our files comes near: the bytes of the largest bundle, the samples of the longest run
MOST_PARTS = 200  # of a dotted key
DEEPEST = 50  # tables in tables
LARGEST = 1 << 28  # bytes of a file
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Cosine = Annotated[float, Field(ge=-1.01, le=1.01)]  # of what rounding leaves: embeddings may be kept in half precision
Points = Annotated[float, Field(ge=-100, le=100)]  # differences of fractions, per cent
Count = Annotated[int, Field(ge=0)]
Size = Annotated[int, Field(ge=1)]
Side = Annotated[int, Field(ge=1, le=1 << 14)]  # of an image, pixels
Width = Annotated[int, Field(ge=1, le=1 << 20)]  # of an embedding


class Part(BaseModel):
    """A table within one of our documents; unknown keys are faults."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class ClassChange(Part):
    """A class of which a model gets fewer images right than another, or more: in reports and in retention alike."""

    name: str
    images: Count
    before: Fraction
    after: Fraction
    examples: list[str] = []  # some of the images that changed

    @property
    def told(self) -> str:
        """In words."""
        some = f" ({', '.join(self.examples)})" if self.examples else ""
        return f"{self.name}: {self.before:.0%} to {self.after:.0%} of {self.images}{some}"


class Document(Part):
    """A versioned file of ours. Subclasses set ``FORMAT`` and ``VERSION``; both are written into the file.

    ``SEALED`` is the first version that carries a seal over the whole file, None where people may change it.
    """

    FORMAT: ClassVar[str]
    VERSION: ClassVar[int] = 1
    SEALED: ClassVar[int | None] = None
    BY_HAND: ClassVar[bool] = False  # people write it themselves: format and version may be left out

    def as_data(self) -> dict[str, Any]:
        """Plain data for JSON or TOML: the format mark first, unset values left out."""
        body = self.model_dump(mode="json", exclude_none=True)
        data = {"format": self.FORMAT, "version": self.VERSION, **body}
        return sealed(data) if self.SEALED else data

    def as_text(self, suffix: str) -> str:
        """What a file with this suffix holds: TOML for ``.toml``, else JSON."""
        return tomli_w.dumps(self.as_data()) if suffix == ".toml" else json_of(self.as_data())

    def save(self, path: str | Path) -> None:
        """Write to ``path`` (``.toml`` or JSON), atomically."""
        write_text(Path(path), self.as_text(Path(path).suffix))


D = TypeVar("D", bound=Document)


def read_document(path: Path, kind: type[D]) -> D:
    """Read a :class:`Document`, from TOML or JSON by suffix.

    Raises:
        EdgeclipError: the file is missing or unreadable.
        FormatError: it is not of this kind, of a newer version, truncated, altered, or has faults (all named at once).
    """
    kind_of_text, text = path.suffix[1:].upper(), read_text(path, LARGEST)
    try:
        data = _toml(text) if path.suffix == ".toml" else json.loads(text)
        absurd = list(_absurd(data))
    except (ValueError, RecursionError) as error:
        reason = "its tables lie too deep" if isinstance(error, RecursionError) else str(error).partition(";")[0]
        raise FormatError(f"{path}: truncated or not valid {kind_of_text} ({reason})") from error
    whole, version = isinstance(data, dict) and is_whole(data), _refuse_another(path, data, kind)
    seal = data.pop(SEAL, None) if kind.SEALED else None
    faults = {}
    try:
        document = kind.model_validate(data)
    except ValidationError as error:
        faults = {_place(fault["loc"]): told(fault, kind) for fault in error.errors()}
    faults |= {place: what for place, what in absurd if place not in faults}
    if faults:
        every = "; ".join(f"{place}: {what}" for place, what in faults.items())
        raise FormatError(f"{path}: {len(faults)} fault(s): {every}")
    if kind.SEALED and not whole and (seal or version >= kind.SEALED):
        raise FormatError(f"{path}: it was altered after edgeclip wrote it: copy it again, or make it again")
    return document


def _toml(text: str) -> Any:
    """TOML as data. Of a key of many parts the parser keeps every beginning: 100,000 parts would fill the memory."""
    for line in text.split("\n"):
        if line.partition("=")[0].count(".") > MOST_PARTS:
            raise ValueError(f"a key of over {MOST_PARTS} parts")
    return tomllib.loads(text)


def _refuse_another(path: Path, data: Any, kind: type[Document]) -> int:
    """Take format and version out of ``data``; refuse it where they are another's. Returns the version."""
    marks = f'"format": "{kind.FORMAT}" and "version": {kind.VERSION}'
    if path.suffix == ".toml":
        marks = f'format = "{kind.FORMAT}" and version = {kind.VERSION}'
    if not isinstance(data, dict):
        raise FormatError(f"{path}: not an {kind.FORMAT} file: it holds no table")
    optional = {"format": kind.FORMAT, "version": kind.VERSION} if kind.BY_HAND else {}
    name, version = (data.pop(key, optional.get(key)) for key in ("format", "version"))
    if name != kind.FORMAT:
        hint = f"it calls itself {name!r:.60}" if name is not None else f"if it is one, write {marks}"
        raise FormatError(f"{path}: not an {kind.FORMAT} file: {hint}")
    if version is None:
        raise FormatError(f"{path}: its version is missing: write {marks}")
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= kind.VERSION:
        raise FormatError(
            f"{path}: format version {version!r:.60}, but this edgeclip reads up to {kind.VERSION}: upgrade edgeclip"
        )
    return version


def _absurd(data: Any, loc: tuple[str | int, ...] = ()) -> Iterator[tuple[str, str]]:
    """Where a number that nothing can be stands anywhere in ``data``, in tables of another's too, and what it is."""
    if len(loc) > DEEPEST:
        raise RecursionError
    if isinstance(data, float) and not math.isfinite(data):
        yield _place(loc), f"{data} is not a possible value"
    elif isinstance(data, int | float) and abs(data) > MOST:
        yield _place(loc), f"{'-' if data < 0 else ''}{abs(data):.0e} is beyond all reason"
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield from _absurd(value, (*loc, key))


def _place(loc: tuple[str | int, ...]) -> str:
    return ".".join(map(str, loc)) or "file"


def told(fault: Any, kind: type[Document]) -> str:
    """One of pydantic's faults in words; an unknown name with those that are known there."""
    if fault["type"] != "extra_forbidden":
        return str(fault["msg"]).removeprefix("Value error, ")
    there: set[type[Part]] = {kind}
    for step in fault["loc"][:-1]:
        fields = [part.model_fields[step] for part in there if isinstance(step, str) and step in part.model_fields]
        there = {part for field in fields for part in _parts(field.annotation)} or there
    known = {name for part in there for name in part.model_fields}
    return f"unknown; {did_you_mean(str(fault['loc'][-1]), known)}"


def _parts(annotation: Any) -> Iterator[type[Part]]:
    if isinstance(annotation, type) and issubclass(annotation, Part):
        yield annotation
    for argument in get_args(annotation):
        yield from _parts(argument)
