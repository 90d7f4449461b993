"""Measuring on the device, and what comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..base.documents import read_document
from ..base.errors import EdgeclipError
from ..base.files import writable
from ..base.folders import new_folder, refuse_foreign
from ..chain.loading import load
from ..chain.report import ReportConfig, make_report
from ..evaluation.tasks import EvaluationTask
from ..measurement import measure as measured
from ..measurement.config import MeasureConfig
from ..measurement.schema import Figures
from .opening import BundleLike, ProfileLike, as_profile, as_report, bundle_path, named

if TYPE_CHECKING:
    from ..comparison.retention import Retention
    from ..encoder import Encoder
    from ..evaluation.results import Evaluation
    from ..profiling.schema import Budget
    from ..reporting.compare import Comparison
    from ..reporting.schema import Report

__all__ = [
    "EvaluationTask",
    "MeasureConfig",
    "ReportConfig",
    "compare",
    "evaluate",
    "measure",
    "report",
    "retention",
    "write_report",
]
REPORT = "report"


def measure(
    bundle: BundleLike,
    dataset: str | Path | None = None,
    *,
    device: str | None = None,
    config: MeasureConfig | None = None,
) -> Figures:
    """Verify a bundle, then measure accuracy, latency and memory of each variant. ``.save(path)`` writes the figures.

    Args:
        bundle: an object, a folder or an archive.
        dataset: labelled images; None: no accuracy.
        device: ``ssh://user@host`` or ``adb://SERIAL``; this machine when None.
        config: which variants, in what, for how long.

    Raises:
        EdgeclipError: no bundle, no such variant or engine, no data set, or the device cannot be reached.
    """
    return measured(bundle_path(bundle), dataset, device=device, config=config)


def report(
    bundle: BundleLike,
    profile: ProfileLike,
    dataset: str | Path | None = None,
    *,
    budget: Budget | None = None,
    figures: Figures | str | Path | None = None,
    device: str | None = None,
    config: ReportConfig | None = None,
) -> Report:
    """Check a bundle against the budget. :func:`write_report` writes it as JSON, Markdown and one HTML file.

    Args:
        bundle: an object, a folder or an archive.
        profile: of the device that the verdict is about.
        dataset: labelled images; None: accuracy is not measured, and the verdict says so.
        budget: limits, over those that the student was chosen for and those of the profile.
        figures: what the device measured, or their file; None measures here, or at ``device``.
        device: ``ssh://user@host`` or ``adb://SERIAL``; this machine when None.
        config: what else is measured, and how.

    Raises:
        EdgeclipError: the profile is of another device than the one measured, or estimated, and the config does not
            accept that; no bundle; a data set that cannot be read; or the device cannot be reached.
    """
    if figures is not None and (device or (config and (config.engine or config.provider))):
        raise EdgeclipError("figures were measured already: leave out device, engine and provider")
    given = read_document(Path(figures), Figures) if isinstance(figures, (str, Path)) else figures
    where = None if dataset is None else Path(dataset)
    settings = {"budget": budget, "figures": given, "device": device, "config": config}
    return make_report(bundle_path(bundle), as_profile(profile), where, **settings)  # type: ignore[arg-type]


def write_report(report: Report, out: str | Path, *, force: bool = False) -> None:
    """Write report.json, report.md and report.html to the folder ``out``.

    Raises:
        EdgeclipError: ``out`` is in the way; ``force`` replaces an earlier report.
    """
    from ..reporting import write_report as written

    out = Path(out)
    writable(out)
    refuse_foreign(out, REPORT, force=force)
    with new_folder(out, REPORT, "report.json", force=force) as folder:
        written(report, folder)


def compare(
    *reports: Report | str | Path,
    worse_percent: float = 10,
    lost_points: float = 0.5,
    other_device: bool = False,
    other_dataset: bool = False,
) -> list[Comparison]:
    """Compare reports with the first one, the baseline, figure by figure; ``regressed`` names those that got worse.

    Args:
        reports: objects, files or folders.
        worse_percent: the change that counts as worse.
        lost_points: the loss of accuracy that counts as worse, percentage points.
        other_device: accepts reports of different machines, engines or thread counts.
        other_dataset: accepts accuracies of different data sets.

    Raises:
        EdgeclipError: fewer than two reports, one is missing, or they do not compare.
    """
    from ..reporting.compare import compare as compared

    if len(reports) < 2:
        raise EdgeclipError("compare needs two or more reports; the first is the baseline")
    return compared(
        [as_report(one) for one in reports],
        worse_percent=worse_percent,
        lost_points=lost_points,
        other_device=other_device,
        other_dataset=other_dataset,
    )


def evaluate(
    model: str | Path | Encoder,
    dataset: str | Path | None = None,
    *,
    suite: str | None = None,
    data: Path | None = None,
    hub: bool = False,
    task: EvaluationTask | None = None,
    part: Path | None = None,
    name: str | None = None,
) -> Evaluation:
    """Measure the accuracy of a model on a data set, or on a suite of data sets. ``.scores`` has one a data set.

    Args:
        model: a teacher, a run or a bundle, or anything that encodes.
        dataset: a folder per class, tar shards, ``hub:USER/REPO``, or ``torchvision:NAME:FOLDER``.
        suite: ``elevater``, ``imagenet``, ``robustness``, ``vtab``, ``openmoji``, or a TOML file, instead of a data
            set; openmoji when there is neither.
        data: the folder with the suite's data sets.
        hub: downloads missing data sets of the suite.
        task: zero-shot accuracy when None.
        part: a file that keeps what is done of a suite, so that the same call goes on after an interruption.
        name: what the model is called in the results.

    Raises:
        EdgeclipError: no such model or data set, or the data set does not fit the task.
    """
    from dataclasses import replace

    from ..chain.seeing import seeing
    from ..evaluation.results import Evaluation
    from ..evaluation.suite import evaluate_suite, load_suite
    from ..evaluation.tasks import score
    from ..images.datasets import open_dataset

    if dataset and suite:
        raise EdgeclipError("give either a data set or a suite")
    name, task = name or named(model), task or EvaluationTask()
    if dataset:
        encoder = seeing(_encoder(model), ground=task.ground)
        opened = open_dataset(dataset, keep_duplicates=task.keep_duplicates)
        scores = [score(encoder, name, opened, str(dataset), task)]
        return _remarked(Evaluation(model=name, suite="", scores=scores, missing=[]), task)
    from ..chain.demo.sets import DEFAULT_SUITE, built_in

    wanted, encoder = load_suite(suite or DEFAULT_SUITE), seeing(_encoder(model), ground=task.ground)
    task = replace(task, keep_duplicates=task.keep_duplicates or suite is not None)
    kept = part if getattr(encoder, "fingerprint", None) else None  # else nobody could tell whether it is the same
    return _remarked(evaluate_suite(encoder, name, wanted, data, task, hub=hub, built_in=built_in, part=kept), task)


def _remarked(evaluation: Evaluation, task: EvaluationTask) -> Evaluation:
    """The ground is told with each figure, which it changes."""
    if not task.ground:
        return evaluation
    remark = f"transparent pixels lie on {task.ground}"
    scores = [one.model_copy(update={"remarks": [*one.remarks, remark]}) for one in evaluation.scores]
    return evaluation.model_copy(update={"scores": scores})


def _encoder(model: str | Path | Encoder) -> Encoder:
    return load(model) if isinstance(model, (str, Path)) else model


def retention(*models: str | Path | Encoder, dataset: str | Path, names: Sequence[str] = ()) -> Retention:
    """Compare models with a reference, named first: accuracy that is retained, images lost and gained.

    Args:
        models: as in :func:`evaluate`; the reference first.
        dataset: labelled images.
        names: what they are called in the results.

    Raises:
        EdgeclipError: fewer than two models, no such model or data set, or images of several classes.
    """
    from ..comparison.retention import retention as kept
    from ..evaluation import evaluate as answered
    from ..images.datasets import open_dataset

    called = list(names) or [named(model) for model in models]
    if len(set(called)) < 2 or len(called) != len(models):
        raise EdgeclipError("retention needs two models: the reference first, then what was made of it")
    opened = open_dataset(dataset)
    encoders = {name: _encoder(model) for name, model in zip(called, models, strict=True)}
    results = {name: answered(encoder, opened, title=f"zero-shot, {name}") for name, encoder in encoders.items()}
    return kept(results, opened.classnames, dataset=opened.name)
