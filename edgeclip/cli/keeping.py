"""A result is written before it is shown: whatever becomes of the terminal, or of ``--out``, it is not lost."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ..base.errors import EdgeclipError
from .options import tell


def keep(out: Path, write: Callable[[Path], object], refuse: Callable[[Path], object], *, what: str = "") -> None:
    """Write a result to ``out``; where that takes it no more, beside it, or where temporary files are.

    Args:
        out: a file, or a folder.
        write: writes the result to a path.
        refuse: raises an EdgeclipError where something lies there that must stay: somebody may have put it there since.
        what: what is said to be written; ``out`` when empty.

    Raises:
        EdgeclipError: ``out`` cannot be written to; the text says where the result is.
    """
    try:
        refuse(out)
        write(out)
    except (EdgeclipError, OSError) as error:
        raise EdgeclipError(f"{_why(error)}{_elsewhere(out, write)}") from error
    tell(f"wrote {what or out}")


def refuse_same(**paths: Path | None) -> None:
    """Refuse two options that name one file or folder.

    Raises:
        EdgeclipError: with the two.
    """
    named: dict[Path, str] = {}
    for option, path in paths.items():
        if path is None:
            continue
        if other := named.get(path.absolute()):
            raise EdgeclipError(f"--{other} and --{option} are both {path}: name two")
        named[path.absolute()] = option


def _why(error: Exception) -> str:
    return f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)


def _elsewhere(out: Path, write: Callable[[Path], object]) -> str:
    """Keep it under another name, and say where."""
    name = f"{out.stem[:100]}-{time.strftime('%Y%m%d-%H%M%S')}{out.suffix}"
    for folder in (out.parent, Path(), Path(tempfile.gettempdir())):
        other = (folder / name).absolute()
        with suppress(EdgeclipError, OSError):
            if not other.exists():
                write(other)
                return f"; the result is in {other}"
    return "; the result could not be kept anywhere else either"
