"""What every function takes: a path, a name, or the object itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..base.documents import read_document
from ..base.errors import EdgeclipError
from ..profiling.schema import Budget, Profile
from ..profiling.store import load_profile
from ..runtime.archive import is_archive
from ..runtime.bundle import MANIFEST, Bundle
from ..towers.spec import StudentSpec, read_spec

if TYPE_CHECKING:
    from ..distillation.run import Run
    from ..distillation.teachers import Teacher
    from ..encoder import Encoder
    from ..reporting.schema import Report

__all__ = ["Budget"]
ProfileLike = Profile | str | Path
SpecLike = StudentSpec | str | Path
BundleLike = Bundle | str | Path


def as_profile(profile: ProfileLike) -> Profile:
    """A profile by its object, file or shipped name.

    Raises:
        EdgeclipError: there is none, or its file has faults.
    """
    return profile if isinstance(profile, Profile) else load_profile(profile)


def as_spec(spec: SpecLike) -> StudentSpec:
    """A student's spec by its object or file.

    Raises:
        EdgeclipError: the file is missing, or has faults.
    """
    return spec if isinstance(spec, StudentSpec) else read_spec(Path(spec))


def bundle_path(bundle: BundleLike) -> Path:
    """The folder or archive of a bundle."""
    return bundle.path if isinstance(bundle, Bundle) else Path(bundle)


def run_path(run: Run | str | Path) -> Path:
    """The folder of a run."""
    return Path(run) if isinstance(run, (str, Path)) else run.path


def is_bundle(path: str | Path) -> bool:
    """Whether a bundle's folder or archive lies there."""
    return (Path(path) / MANIFEST).is_file() or is_archive(Path(path))


def as_teacher(teacher: str | Encoder) -> Teacher:
    """A teacher by its name, or anything that encodes.

    Raises:
        EdgeclipError: nothing of that name.
    """
    from ..chain.loading import open_teacher
    from ..distillation import teachers

    return open_teacher(teacher) if isinstance(teacher, str) else teachers.as_teacher(named(teacher), teacher)


def as_report(report: Report | str | Path) -> Report:
    """A report by its object, file or folder.

    Raises:
        EdgeclipError: the file is missing, or has faults.
    """
    from ..reporting.schema import Report

    if isinstance(report, Report):
        return report
    path = Path(report)
    return read_document(path / "report.json" if path.is_dir() else path, Report)


def named(model: str | Path | Encoder) -> str:
    """What a model is called in results: what it was opened by, or the name of its class."""
    return str(model) if isinstance(model, (str, Path)) else type(model).__name__


def refuse_no_budget(profile: Profile) -> None:
    """Refuse to choose a student for a device when nothing limits what it may cost.

    Raises:
        EdgeclipError: the profile has no budget.
    """
    if not profile.budget.model_dump(exclude_none=True, exclude={"accuracy_drop"}):
        what = "--latency-ms, --memory-mb or --size-mb"
        raise EdgeclipError(f"no budget: set {what}, or --no-budget to take the student of the highest score")
