"""Measure a bundle and everything it came from, and judge it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..console import say
from ..device.facts import describe_device
from ..encoder import PixelEncoder
from ..errors import EdgeclipError
from ..files import writable
from ..runtime.cores import usable_cores
from .suggest import suggest

if TYPE_CHECKING:
    from ..device.schema import Profile
    from ..distill.run import Run
    from ..evaluate.datasets import Dataset
    from ..report.schema import Criterion, Report, Row
    from ..runtime.bundle import Bundle
    from .chain import Measured, Stage


ON_HOST = "exported fp32, host"
# Rows and the chosen one -> criteria of the caller's own.
Promises = Callable[["Sequence[Row]", "Row"], "list[Criterion]"]


def prove(
    bundle: Path,
    profile: Profile,
    dataset: Path,
    out: Path,
    *,
    teacher: str | None = None,
    seconds: float = 20,
    threads: int | None = None,
    device: str | None = None,
    sustained: float = 0,
    other_device: bool = False,
    promises: Promises | None = None,
) -> Report:
    """Measure a bundle here or on a device, its teacher and student beside it where they are at hand; write the report.

    Raises:
        EdgeclipError: the profile is of another device than this one, or estimated, and ``other_device`` does not say
            that it is meant so; no bundle, no dataset, a dataset that cannot be read, ``out`` cannot be written to, or
            the device cannot be reached.
    """
    from ..device.place import open_place
    from ..evaluate.datasets import open_dataset
    from ..report import write_report
    from ..runtime.bundle import Bundle
    from .chain import measure

    if not other_device:
        _same_device(profile, here=device is None)
    writable(out / "report.json")
    opened, data = Bundle.open(bundle), open_dataset(dataset)
    stages = _chain(opened, profile, teacher, threads, here=device is None)
    with open_place(device) as place:
        measured = measure(stages, data, place, seconds=seconds, sustained=sustained)
    words = ["report", str(bundle), "--profile", profile.name, "--dataset", str(dataset), "--out", str(out)]
    commands = [
        ["export", opened.manifest.source, "--out", str(bundle)],
        [*words, *(["--device", device] if device else []), *(["--other-device"] if other_device else [])],
    ]
    judged: dict[str, Any] = {"threads": threads, "promises": promises, "other_device": other_device}
    result = _judge(
        measured, opened, profile, data, **judged, commands=[shlex.join(["edgeclip", *words]) for words in commands]
    )
    result = result.model_copy(update={"next": suggest(result, profile, bundle, profile.name)})
    write_report(result, out)
    return result


def _same_device(profile: Profile, *, here: bool) -> None:
    """Refuse a verdict by a profile that is not of the machine that is measured.

    Raises:
        EdgeclipError: see :func:`prove`.
    """
    mend = "or say --other-device to be judged by it all the same"
    if profile.provenance == "estimated":
        raise EdgeclipError(
            f"profile {profile.name} is estimated, not measured: edgeclip profile NAME --out FILE on the device, {mend}"
        )
    if here and profile.device != describe_device():
        raise EdgeclipError(
            f"profile {profile.name} is of another device ({profile.device.cpu}, {profile.device.cores} cores): run"
            f" this there, reach it with --device, {mend}"
        )


def _judge(
    measured: Measured,
    bundle: Bundle,
    profile: Profile,
    data: Dataset,
    *,
    threads: int | None,
    promises: Promises | None,
    other_device: bool,
    commands: list[str],
) -> Report:
    """The report of what was measured."""
    from ..report import report

    reference = measured.reference
    machine = {name: value for name, value in measured.machine.items() if value is not None}
    same = profile.device.model_dump(exclude_none=True) == machine
    if reference and same:
        reference = reference.model_copy(update={"profile_ms": profile.reference.p50_ms})
    used = threads or machine["cores"]
    cautions = [] if same else [f"measured on {machine['cpu']}, not on the device of profile {profile.name}"]
    if used != profile.runtime.threads:
        cautions.append(f"{used} thread(s) were used; profile {profile.name} speaks for {profile.runtime.threads}")
    chosen = next(row for row in measured.rows if row.recommended)
    return report(
        measured.rows,
        name=bundle.manifest.name,
        budget=profile.budget.model_dump(exclude_none=True),
        more=promises(measured.rows, chosen) if promises else (),
        cautions=cautions,
        withheld="" if same or other_device else f"{machine['cpu']} is another, unless --other-device says it will do",
        dataset={"name": data.name, "images": len(data), "classes": len(data.classnames), "templates": data.templates},
        profile=_profile_facts(profile) | {"threads": used},
        device=machine,
        software=bundle.manifest.made_with,
        student=bundle.manifest.student,
        commands=commands,
        rule=measured.rule,
        reference=reference,
        before=measured.before,
        after=measured.after,
    )


def _chain(bundle: Bundle, profile: Profile, teacher: str | None, threads: int | None, *, here: bool) -> list[Stage]:
    """Teacher, student and every variant, each compared with the one before; what is not at hand is left out.

    Where the device is another machine, fp32 is measured here too: what the way to the device costs has its own row.
    """
    from .chain import Stage

    stages = []
    source = Path(bundle.manifest.source)
    run = _run_at(source)
    if encoder := _teacher(teacher, run, threads):
        stages.append(Stage("teacher", encoder))
    if run:
        before = stages[-1].name if stages else None
        stages.append(Stage("student fp32", _open_encoder(str(source), threads), compared_to=before))
    spec = bundle.manifest.student
    if not here and bundle.manifest.variant("fp32"):
        before = stages[-1].name if stages else None
        stages.append(Stage(ON_HOST, bundle.encoder("fp32", threads=threads), compared_to=before, on_host=True))
    for variant in bundle.manifest.variants:
        first = not any(stage.name == "exported fp32" for stage in stages)
        before = (stages[-1].name if stages else None) if first else "exported fp32"
        stages.append(
            Stage(
                f"exported {variant.precision}",
                bundle.encoder(variant.precision, threads=threads),
                compared_to=before,
                predicted_ms=_predicted(profile, spec, variant.precision),
                recommended=variant.precision == bundle.manifest.recommended,
            )
        )
    return stages


def _teacher(asked: str | None, run: Run | None, threads: int | None) -> PixelEncoder | None:
    """The teacher that was asked for, or the run's own where it is at hand and can be timed."""
    if asked or run is None:
        return _open_encoder(asked, threads) if asked else None
    try:
        return _open_encoder(run.document.teacher, threads)
    except EdgeclipError as error:
        say(f"the report has no row for the teacher: {error}")
        return None


def _run_at(source: Path) -> Run | None:
    """The run a bundle was made from, where it is on this machine and torch is installed."""
    if not (source / "run.json").is_file() or find_spec("torch") is None:
        say("the run is not at hand here (or torch is not): the report has no row for the student before its export")
        return None
    from ..distill.run import Run

    return Run.open(source)


def _open_encoder(name: str, threads: int | None) -> PixelEncoder:
    """A bundle's, run's or teacher's encoder that uses ``threads`` CPU threads, all usable ones where None."""
    from ..loading import load

    if (Path(name) / "bundle.json").is_file():
        from ..runtime.bundle import Bundle

        return Bundle.open(Path(name)).encoder(threads=threads)
    encoder = load(name)
    if not isinstance(encoder, PixelEncoder):
        raise EdgeclipError(f"{name} only encodes: its image tower cannot be timed by itself")
    import torch

    torch.set_num_threads(threads or usable_cores())
    return encoder


def _predicted(profile: Profile, spec: dict[str, Any], precision: str) -> float | None:
    """What the profile predicts for the student in this precision, ms; None where it does not speak for it."""
    from ..device.costmodel import predict_ms
    from ..towers.spec import StudentSpec

    if not spec or precision not in profile.cost_model:
        return None
    body = {key: value for key, value in spec.items() if key not in ("format", "version")}
    return predict_ms(profile, StudentSpec.model_validate(body).workload, precision)  # type: ignore[arg-type]


def _profile_facts(profile: Profile) -> dict[str, Any]:
    return {
        "name": profile.name,
        "provenance": profile.provenance,
        "runtime": f"{profile.runtime.name} {profile.runtime.version}",
        "held_out_error": {name: model.held_out_error for name, model in profile.cost_model.items()},
    }
