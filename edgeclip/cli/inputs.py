"""What commands are given by name, opened: profiles, reports, and whether finalists can be measured here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..encoder import Encoder
    from ..profiling.schema import Profile
    from ..reporting.schema import Report


def open_model(name: str) -> Path | Encoder:
    """A run or a teacher, opened; of a bundle its path: which variant is opened is said elsewhere.

    Raises:
        EdgeclipError: as :func:`edgeclip.chain.loading.load`.
    """
    from ..chain.loading import DEMO, load
    from ..runtime.archive import is_archive

    path = Path(name)
    if (path / "bundle.json").is_file() or is_archive(path):
        return path
    return load(name) if name == DEMO or ":" in name or (path / "run.json").is_file() else path


def open_profile(name: str, budget: dict[str, float | None]) -> Profile:
    """The profile of that name or path, its budget overridden by what is given.

    Raises:
        EdgeclipError: there is none, or its file has faults.
    """
    from ..profiling.store import load_profile

    found = load_profile(name)
    given = {line: limit for line, limit in budget.items() if limit is not None}
    return found.model_copy(update={"budget": found.budget.model_copy(update=given)})


def refuse_no_budget(profile: Profile) -> None:
    """Refuse to choose a student for a device when nothing was said of what it may cost.

    Raises:
        EdgeclipError: the profile has no budget, and none was given.
    """
    from ..base.errors import EdgeclipError

    if not profile.budget.model_dump(exclude_none=True, exclude={"accuracy_drop"}):
        what = "--latency-ms, --memory-mb or --size-mb"
        raise EdgeclipError(f"no budget: set {what}, or --no-budget to take the student of the highest score")


def read_reports(paths: Sequence[Path]) -> list[Report]:
    """Reports by file or folder.

    Raises:
        EdgeclipError: fewer than two, one is missing, or has faults.
    """
    from ..base.documents import read_document
    from ..base.errors import EdgeclipError
    from ..reporting.schema import Report

    if len(paths) < 2:
        raise EdgeclipError("compare needs two or more reports; the first is the baseline")
    return [read_document(path / "report.json" if path.is_dir() else path, Report) for path in paths]
