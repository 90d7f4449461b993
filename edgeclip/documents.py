"""The files between the stages: versioned, and read with every fault reported at once."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import EdgeclipError, FormatError
from .files import write_json, write_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Part(BaseModel):
    """A table within one of our documents; unknown keys are faults."""

    model_config = ConfigDict(extra="forbid")


class Document(Part):
    """A versioned file of ours. Subclasses set ``FORMAT`` and ``VERSION``; both are written into the file."""

    FORMAT: ClassVar[str]
    VERSION: ClassVar[int] = 1

    def as_data(self) -> dict[str, Any]:
        """Plain data for JSON or TOML: the format mark first, unset values left out."""
        body = self.model_dump(mode="json", exclude_none=True)
        return {"format": self.FORMAT, "version": self.VERSION, **body}

    def save(self, path: Path) -> None:
        """Write to ``path`` (``.toml`` or JSON), atomically."""
        if path.suffix == ".toml":
            write_text(path, tomli_w.dumps(self.as_data()))
        else:
            write_json(path, self.as_data())


D = TypeVar("D", bound=Document)


def read_document(path: Path, kind: type[D]) -> D:
    """Read a :class:`Document`, from TOML or JSON by suffix.

    Raises:
        EdgeclipError: the file is missing or unreadable.
        FormatError: it is not of this kind, of a newer version, truncated, or has faults (all named at once).
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise EdgeclipError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise EdgeclipError(f"{path}: cannot be read ({error})") from error
    try:
        data = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except ValueError as error:
        raise FormatError(f"{path}: truncated or not valid {path.suffix[1:].upper()} ({error})") from error
    if not isinstance(data, dict) or data.pop("format", None) != kind.FORMAT:
        raise FormatError(f"{path}: not an {kind.FORMAT} file (its 'format' must say so)")
    version = data.pop("version", None)
    if not isinstance(version, int) or version > kind.VERSION:
        raise FormatError(
            f"{path}: format version {version}, but this edgeclip reads up to {kind.VERSION}: upgrade edgeclip"
        )
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'file'}: {fault['msg']}" for fault in error.errors())
        raise FormatError(f"{path}: {error.error_count()} fault(s): {faults}") from error
