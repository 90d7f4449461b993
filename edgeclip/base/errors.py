"""Every mistake a user can mend is an :class:`EdgeclipError`; anything else is a bug and keeps its traceback."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType


class EdgeclipError(Exception):
    """A fault the user can mend. Its text is one line that says what is wrong and how to mend it."""

    exit_code = 2


def is_mendable(error: Exception) -> bool:
    """Whether it is an EdgeclipError, by name: what an engine's package raises is another class than a lone file's."""
    return any(kind.__name__ == EdgeclipError.__name__ for kind in type(error).__mro__)


class FormatError(EdgeclipError):
    """A profile, spec, store, run, bundle or report that is truncated, altered, invalid or of a newer format."""


class BudgetError(EdgeclipError):
    """Nothing fits the budget; the text names the fastest that exists.

    ``over`` is how far even the fastest of measured candidates is above the budget, as a factor; None where nothing was
    measured.
    """

    def __init__(self, text: str, over: float | None = None) -> None:
        super().__init__(text)
        self.over = over


class Terminated(KeyboardInterrupt):
    """SIGTERM, where it was held back until work could stop: as Ctrl-C, but for what the shell is told."""


class MissingExtra(EdgeclipError):
    """A command was called whose optional packages are not installed."""


def require(module: str, extra: str) -> ModuleType:
    """Import ``module``, or say which extra of edgeclip brings it.

    Raises:
        MissingExtra: naming the pip command that mends it.
    """
    try:
        with _shown(module):
            return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != package:
            raise  # the package is there but broken: a bug, not a missing extra
        raise _missing(package, extra) from error


def folder_of(package: str, extra: str) -> Path:
    """Where a package lies that is wanted for its data: found, not imported.

    Raises:
        MissingExtra: naming the pip command that mends it.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise _missing(package, extra)
    return Path(spec.submodule_search_locations[0])


def _missing(package: str, extra: str) -> MissingExtra:
    return MissingExtra(f"{package} is not installed: pip install 'edgeclip[{extra}]'")


@contextmanager
def _shown(module: str) -> Iterator[None]:
    """On a terminal, say what takes seconds to import, and take it back."""
    if module in sys.modules or not sys.stderr.isatty():
        yield
        return
    sys.stderr.write(f"loading {module} …\r")
    sys.stderr.flush()
    try:
        yield
    finally:
        sys.stderr.write("\x1b[K")


FEW = 20  # names that one line has room for


def did_you_mean(name: str, known: Iterable[str], *, listed_by: str = "") -> str:
    """A clause naming the known values closest to ``name``, or all of them where none is close.

    Of many, a few, and the command that lists them.
    """
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=5, cutoff=0.5)
    if near:
        return "did you mean " + " or ".join(near) + "?"
    if len(known) > FEW:
        return f"{len(known)} are known, {', '.join(known[:3])}, …" + (f": {listed_by} lists them" if listed_by else "")
    return "known: " + ", ".join(known) if known else "none exist yet"
