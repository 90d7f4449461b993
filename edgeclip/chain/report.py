"""Measure a bundle and everything it came from, and report on it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.errors import EdgeclipError
from ..device.facts import describe_device
from ..measurement.config import MeasureConfig
from ..measurement.figures import EXPORTED
from ..measurement.pictures import some_pictures
from ..runtime.cores import usable_cores
from ..runtime.engines.registry import find_engine
from ..runtime.target import Device, Runtime
from .judging import judge
from .sources import earlier_stages, learning_curve, run_of
from .steps import command_of
from .suggest import suggest

if TYPE_CHECKING:
    from ..measurement.chain import Stage
    from ..measurement.schema import Figures, Picture, Row
    from ..profiling.schema import Budget, Profile
    from ..reporting.schema import Criterion, Report
    from ..runtime.bundle import Bundle


# Rows, the chosen one, chance -> criteria of the caller's own.
Promises = Callable[["Sequence[Row]", "Row", float], "list[Criterion]"]


@dataclass(frozen=True)
class ReportConfig:
    """What a report measures, beside what it is told.

    Args:
        teacher: a row for this teacher; where None, for the run's own, where it is at hand.
        run: what the bundle was made from; where None, what it says itself, if this user exported it here.
        seconds: for latency; likewise ``sustained``, ``engine``, ``provider`` and ``threads``, as for
            :class:`~edgeclip.measurement.config.MeasureConfig`, but those of the profile when None. Latency and memory
            in another engine or provider than the profile's are not judged: it says nothing of them.
        other_device: whether a profile of another device, or an estimated one, may judge all the same.
        few_images: whether accuracy is judged by its point value, however few images it is of.
    """

    teacher: str | None = None
    run: Path | None = None
    seconds: float = 20
    sustained: float = 0
    engine: str | None = None
    provider: str | None = None
    threads: int | None = None
    other_device: bool = False
    few_images: bool = False


def make_report(
    bundle: Path,
    profile: Profile,
    dataset: Path | None,
    *,
    budget: Budget | None = None,
    figures: Figures | None = None,
    device: str | None = None,
    config: ReportConfig | None = None,
    promises: Promises | None = None,
) -> Report:
    """Join what a device measured of a bundle with what is missing, which is measured here, and judge it.

    Args:
        bundle: its folder or archive.
        profile: of the device that the verdict is about.
        dataset: labelled images; None: accuracy is not measured, and the verdict says so.
        budget: limits, over those that the student was chosen for, and those of the profile.
        figures: what the device measured; None measures here, or at ``device``.
        device: address of another machine, to measure there.
        config: what is measured, and how; the defaults when None.
        promises: makes criteria of the caller's own.

    Raises:
        EdgeclipError: the profile is of another device than the one measured, or estimated, and the config does not
            say that it is meant so; no bundle, a dataset that is missing or cannot be read, figures of another bundle
            or dataset, or the device cannot be reached.
    """
    from ..images.datasets import open_dataset
    from ..measurement.figures import measure
    from ..reporting.join import join
    from ..runtime.bundle import Bundle

    config, opened = config or ReportConfig(), Bundle.open(bundle)
    if figures and figures.bundle != opened.sha256:
        raise EdgeclipError(f"the figures are of another bundle than {bundle}: measure this one on the device")
    if not config.other_device:
        measured_on = figures.device if figures else None if device else describe_device()
        _same_device(profile, measured_on)
    if dataset is not None:
        open_dataset(dataset)
    measuring = _as_profiled(profile.runtime, config, here=device is None)
    apart = figures is not None or device is not None
    if not apart:
        find_engine(measuring.engine, measuring.provider)
    trained = run_of(opened, config.run)
    threads = config.threads if apart else measuring.threads
    sources = earlier_stages(opened, config.teacher, trained, threads, apart=apart)
    command = _command(bundle, profile, dataset, budget, device, config, figures=figures is not None)
    if figures:
        host = _here(opened, sources, dataset)
    else:
        host, figures = None, measure(opened.path, dataset, device=device, config=measuring, before=sources)
    rows, limits = join(host, figures), _limits(opened, profile, budget)
    commands = _commands(opened, bundle, command, figures)
    result = judge(rows, figures, host, opened, profile, limits=limits, promises=promises, config=config)
    more: dict[str, Any] = {
        "curve": learning_curve(trained),
        "pictures": _pictures(result, dataset),
        "commands": commands,
    }
    return result.model_copy(update={"next": suggest(result, profile, limits, bundle), **more})


def _command(
    bundle: Path,
    profile: Profile,
    dataset: Path | None,
    budget: Budget | None,
    device: str | None,
    config: ReportConfig,
    *,
    figures: bool,
) -> str:
    """The command line that does the same."""
    options: dict[str, Any] = {"profile": profile.opened_as, "dataset": dataset, "device": device}
    options |= budget.model_dump(exclude_none=True) if budget else {}
    options |= {field.name: getattr(config, field.name) for field in fields(config)}
    options = {name: value for name, value in options.items() if value != getattr(ReportConfig, name, None)}
    words = command_of(f"edgeclip report {shlex.quote(str(bundle))}", **options, out="report")
    return f"{words} --figures figures.json" if figures else words


def _pictures(report: Report, dataset: Path | None) -> list[Picture]:
    """Some of the images that the verdict's row is right about, and wrong."""
    if dataset is None:
        return []
    from ..evaluation.copies import without_copies
    from ..images.datasets import open_dataset

    chosen = next(row for row in report.rows if row.recommended)
    fp32 = next((row for row in report.rows if row.stage == f"{EXPORTED}fp32" and row is not chosen), None)
    return some_pictures(
        without_copies(open_dataset(dataset)), report.dataset.labels if report.dataset else (), chosen, fp32
    )


def _commands(opened: Bundle, bundle: Path, command: str, figures: Figures) -> list[str]:
    """The command lines that made the report, and what of."""
    commands = [f"{command}  # {figures.runtime.told if figures.runtime else 'nothing timed'}, {figures.device.cpu}"]
    if opened.manifest.student:  # else its source is a model, whose calibration images nobody knows
        source, where = shlex.quote(opened.manifest.source), shlex.quote(str(bundle))
        commands.insert(0, f"edgeclip export {source} --out {where}")
    return commands


def _as_profiled(profiled: Runtime, config: ReportConfig, *, here: bool) -> MeasureConfig:
    """Engine, provider and threads: those asked for, else the profile's, on this machine no more than it has cores."""
    engine = config.engine or profiled.name
    provider = config.provider or (profiled.provider if engine == profiled.name else None)  # another engine's usual one
    threads = config.threads or (min(profiled.threads, usable_cores()) if here else profiled.threads)
    return MeasureConfig((), config.seconds, config.sustained, engine, provider, threads)


def _same_device(profile: Profile, measured_on: Device | None) -> None:
    """Refuse a verdict by a profile that is not of the machine that is measured: None where that is not known yet.

    Raises:
        EdgeclipError: see :func:`make_report`.
    """
    hint = "or add --other-device to accept it"
    if profile.provenance == "estimated":
        raise EdgeclipError(
            f"profile {profile.name} is estimated, not measured: edgeclip profile NAME --out FILE on the device, {hint}"
        )
    if measured_on and profile.device != measured_on:
        raise EdgeclipError(
            f"profile {profile.name} is of another device ({profile.device.cpu}, {profile.device.cores} cores): run"
            f" this there, reach it with --device, {hint}"
        )


def _limits(bundle: Bundle, profile: Profile, budget: Budget | None) -> Budget:
    """What was asked for: now, else when the student was chosen for this profile, else in the profile."""
    student = bundle.manifest.student
    chosen_for = student.get("budget", {}) if (student.get("target") or {}).get("profile") == profile.name else {}
    limits_now = budget.model_dump(exclude_none=True) if budget else {}
    limits = {name: limit for name, limit in chosen_for.items() if limit is not None}
    return profile.budget.model_copy(update=limits | limits_now)


def _here(bundle: Bundle, sources: Sequence[Stage], dataset: Path | None) -> Figures | None:
    """The accuracy of what runs here, as figures without any time in them; None where nothing is at hand."""
    if dataset is None:
        return None
    from ..evaluation.copies import without_copies
    from ..images.datasets import open_dataset
    from ..measurement.chain import accuracy_here
    from ..measurement.figures import figures_of

    data = without_copies(open_dataset(dataset))
    return figures_of(bundle, accuracy_here(sources, data), data) if sources else None
