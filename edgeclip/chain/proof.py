"""Measure a bundle and everything it came from, and judge it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.errors import EdgeclipError
from ..device.facts import describe_device
from ..measurement.figures import EXPORTED
from ..measurement.pictures import some_pictures
from ..runtime.cores import usable_cores
from ..runtime.engines.registry import find_engine
from ..runtime.target import Device, Runtime
from .sources import earlier_stages, learning_curve, run_of
from .suggest import suggest

if TYPE_CHECKING:
    from ..measurement.chain import Stage
    from ..measurement.schema import Figures, Judged, Picture, Row
    from ..profiling.schema import Profile
    from ..reporting.schema import Criterion, Report
    from ..runtime.bundle import Bundle


OTHER_DEVICE = "{cpu} is not the profile's device: measure there, or say --other-device to be judged by this one"
# Rows and the chosen one -> criteria of the caller's own.
Promises = Callable[["Sequence[Row]", "Row", float], "list[Criterion]"]


def prove(
    bundle: Path,
    profile: Profile,
    dataset: Path | None,
    *,
    command: str,
    profile_name: str,
    budget: Mapping[str, float | None] | None = None,
    figures: Figures | None = None,
    teacher: str | None = None,
    run: Path | None = None,
    seconds: float = 20,
    threads: int | None = None,
    engine: str | None = None,
    provider: str | None = None,
    device: str | None = None,
    sustained: float = 0,
    other_device: bool = False,
    few_images: bool = False,
    promises: Promises | None = None,
) -> Report:
    """Join what a device measured of a bundle with what is missing, which is measured here, and judge it.

    Args:
        bundle: its folder or archive.
        profile: of the device that the verdict is about.
        dataset: labelled images; None: accuracy is not measured, and the verdict says so.
        command: the command line that does the same, for the record.
        profile_name: what the profile is opened by.
        budget: limits by name, over those that the student was chosen for, and those of the profile.
        figures: what the device measured; None measures here, or at ``device``.
        teacher: the run's own where None, where it is at hand.
        run: what the bundle was made from; where None, what it says itself, if this user exported it here.
        seconds: for latency; likewise ``threads``, ``engine``, ``provider``, ``device`` and ``sustained``, as for
            ``measure``, but those of the profile when None. Latency and memory in another engine or provider than the
            profile's are not measured: it says nothing of them.
        other_device: whether a profile of another device, or an estimated one, may judge all the same.
        few_images: whether accuracy is judged by its point value, however few images it is of.
        promises: makes criteria of the caller's own.

    Raises:
        EdgeclipError: the profile is of another device than the one measured, or estimated, and ``other_device`` does
            not say that it is meant so; no bundle, a dataset that is missing or cannot be read, figures of another
            bundle or dataset, or the device cannot be reached.
    """
    from ..images.datasets import open_dataset
    from ..measurement.figures import measure
    from ..reporting.join import join
    from ..runtime.bundle import Bundle

    opened = Bundle.open(bundle)
    if figures and figures.bundle != opened.sha256:
        raise EdgeclipError(f"the figures are of another bundle than {bundle}: measure this one on the device")
    if not other_device:
        measured_on = figures.device if figures else None if device else describe_device()
        _same_device(profile, measured_on)
    if dataset is not None:
        open_dataset(dataset)
    timed: dict[str, Any] = {"seconds": seconds, "sustained": sustained, "device": device}
    timed |= _as_profiled(profile.runtime, engine, provider, threads, here=device is None)
    apart = figures is not None or device is not None
    if not apart:
        find_engine(timed["engine"], timed["provider"])
    trained = run_of(opened, run)
    sources = earlier_stages(opened, teacher, trained, threads if apart else timed["threads"], apart=apart)
    if figures:
        host = _here(opened, sources, dataset)
    else:
        host, figures = None, measure(opened.path, dataset, **timed, before=sources)
    rows = join(host, figures)
    limits = _limits(opened, profile, budget or {})
    asked: dict[str, Any] = {"promises": promises, "other_device": other_device, "few_images": few_images}
    told = _commands(opened, bundle, command, figures)
    result = _judge(rows, figures, host, opened, profile, budget=limits, **asked, commands=told)
    more: dict[str, Any] = {"curve": learning_curve(trained), "pictures": _pictures(result, dataset)}
    return result.model_copy(update={"next": suggest(result, profile, limits, bundle, profile_name), **more})


def _pictures(found: Report, dataset: Path | None) -> list[Picture]:
    """Some of the images that the verdict's row is right about, and wrong."""
    if dataset is None:
        return []
    from ..evaluation.copies import without_copies
    from ..images.datasets import open_dataset

    chosen = next(row for row in found.rows if row.recommended)
    fp32 = next((row for row in found.rows if row.stage == f"{EXPORTED}fp32" and row is not chosen), None)
    return some_pictures(without_copies(open_dataset(dataset)), found.dataset.get("labels", ()), chosen, fp32)


def _commands(opened: Bundle, bundle: Path, command: str, figures: Figures) -> list[str]:
    """The command lines that made the report, and what of."""
    told = [f"{command}  # {figures.runtime.told if figures.runtime else 'nothing timed'}, {figures.device.cpu}"]
    if opened.manifest.student:  # else its source is a model, whose calibration images nobody knows
        source, where = shlex.quote(opened.manifest.source), shlex.quote(str(bundle))
        told.insert(0, f"edgeclip export {source} --out {where}")
    return told


def _as_profiled(
    own: Runtime, engine: str | None, provider: str | None, threads: int | None, *, here: bool
) -> dict[str, Any]:
    """Engine, provider and threads: those asked for, else the profile's, on this machine no more than it has cores."""
    name = engine or own.name
    provider = provider or (own.provider if name == own.name else None)  # another engine's usual one
    threads = threads or (min(own.threads, usable_cores()) if here else own.threads)
    return {"engine": name, "provider": provider, "threads": threads}


def _same_device(profile: Profile, measured_on: Device | None) -> None:
    """Refuse a verdict by a profile that is not of the machine that is measured: None where that is not known yet.

    Raises:
        EdgeclipError: see :func:`prove`.
    """
    mend = "or say --other-device to be judged by it all the same"
    if profile.provenance == "estimated":
        raise EdgeclipError(
            f"profile {profile.name} is estimated, not measured: edgeclip profile NAME --out FILE on the device, {mend}"
        )
    if measured_on and profile.device != measured_on:
        raise EdgeclipError(
            f"profile {profile.name} is of another device ({profile.device.cpu}, {profile.device.cores} cores): run"
            f" this there, reach it with --device, {mend}"
        )


def _limits(bundle: Bundle, profile: Profile, asked: Mapping[str, float | None]) -> dict[str, float]:
    """What was asked for: now, else when the student was chosen for this profile, else in the profile."""
    limits = profile.budget.model_dump(exclude_none=True)
    student = bundle.manifest.student
    if ((student.get("target") or {}).get("profile")) == profile.name:
        limits |= {name: limit for name, limit in student.get("budget", {}).items() if limit is not None}
    return limits | {name: limit for name, limit in asked.items() if limit is not None}


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


def _judge(
    rows: Sequence[Row],
    figures: Figures,
    host: Figures | None,
    bundle: Bundle,
    profile: Profile,
    *,
    budget: dict[str, float],
    promises: Promises | None,
    other_device: bool,
    few_images: bool,
    commands: list[str],
) -> Report:
    """The report of what was measured."""
    from ..reporting import report

    manifest, reference, machine = bundle.manifest, figures.reference, figures.device.model_dump(exclude_none=True)
    same = profile.device == figures.device
    other_runtime, data = _other_runtime(profile, figures), figures.dataset or (host.dataset if host else None)
    if reference and same and not other_runtime:
        reference = reference.model_copy(update={"profile_ms": profile.reference.p50_ms})
    cautions = [] if same else [f"measured on {machine['cpu']}, not on the device of profile {profile.name}"]
    cautions += [f"{one.part} differs from what was recorded at export: {one.detail}" for one in figures.wrong]
    cautions += _copies(data)
    cautions += _runtime_cautions(profile, figures)
    best = figures.recommended or manifest.chosen
    rows = [_finished(row, best, None if other_runtime else profile, manifest.student) for row in rows]
    chosen = next((row for row in rows if row.recommended), None)
    if chosen is None:
        raise EdgeclipError(f"the figures have no row for {best}, which the verdict is about: measure all variants")
    return report(
        rows,
        name=manifest.name,
        budget=budget,
        few_images=few_images,
        more=promises(rows, chosen, data.chance if data else 0.0) if promises else (),
        cautions=cautions,
        withheld=other_runtime
        or _ran_elsewhere(chosen)
        or ("" if same or other_device else OTHER_DEVICE.format(**machine)),
        dataset=data.model_dump() if data else {},
        profile=_profile_facts(profile),
        runtime=figures.runtime,
        device=machine,
        host=host.device.model_dump(exclude_none=True) if host else {},
        bundle=figures.bundle,
        verified=figures.verified,
        software=manifest.made_with,
        student=manifest.student,
        commands=commands,
        rule=figures.rule,
        reference=reference,
        before=figures.before,
        after=figures.after,
    )


def _other_runtime(profile: Profile, figures: Figures) -> str:
    """Why the figures are of another engine or provider than the profile speaks for; empty where they are not."""
    if figures.runtime is None:
        return "the figures do not say what engine ran"
    differs = profile.runtime.differs(figures.runtime)
    return f"{differs}, which profile {profile.name} speaks for" if differs else ""


def _ran_elsewhere(row: Row) -> str:
    """Why a row's time is not of the provider that was asked for; empty where it is."""
    if row.providers and row.providers[0] != row.provider:
        return f"{row.provider} could not be used, {row.providers[0]} took its place"
    if row.on_provider == 0:
        return f"every operator fell back from {row.provider}: {', '.join(row.fell_back)}"
    return ""


def _copies(data: Judged | None) -> list[str]:
    if data is None or not data.copies:
        return []
    return [f"{data.copies} files of {data.name} are copies of others of their class: each picture counts once"]


def _runtime_cautions(profile: Profile, figures: Figures) -> list[str]:
    """Another version, or number of threads, than the profile was measured with."""
    own, ran = profile.runtime, figures.runtime
    if ran is None or own.differs(ran):
        return []
    told = []
    if ran.threads != own.threads:
        told.append(f"{ran.threads} thread(s) were used; profile {profile.name} speaks for {own.threads}")
    if ran.version != own.version:
        told.append(f"{ran.name} {ran.version} ran; profile {profile.name} was measured with {own.version}")
    return told


def _finished(row: Row, best: str, profile: Profile | None, spec: dict[str, Any]) -> Row:
    """A row with what the profile predicts for it, and whether it is the one that the verdict is about."""
    if row.where == "host" or not row.stage.startswith(EXPORTED):
        return row.model_copy(update={"recommended": False})
    precision = row.stage.removeprefix(EXPORTED)
    predicted = _predicted(profile, spec, precision) if profile else None
    return row.model_copy(update={"predicted_ms": predicted, "recommended": precision == best})


def _predicted(profile: Profile, spec: dict[str, Any], precision: str) -> float | None:
    """What the profile predicts for the student in this precision, ms; None where it does not speak for it."""
    from ..profiling.costmodel import predict_ms
    from ..towers.spec import StudentSpec

    if not spec or precision not in profile.cost_model:
        return None
    body = {key: value for key, value in spec.items() if key not in ("format", "version")}
    return predict_ms(profile, StudentSpec.model_validate(body).workload, precision)  # type: ignore[arg-type]


def _profile_facts(profile: Profile) -> dict[str, Any]:
    return {
        "name": profile.name,
        "provenance": profile.provenance,
        "runtime": profile.runtime.told,
        "held_out_error": {name: model.held_out_error for name, model in profile.cost_model.items()},
    }
