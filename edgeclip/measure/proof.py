"""Measure a bundle and everything it came from, and judge it."""

from __future__ import annotations

import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..console import say
from ..encoder import PixelEncoder
from ..errors import EdgeclipError
from ..files import writable
from .suggest import suggest

if TYPE_CHECKING:
    from ..device.schema import Profile
    from ..distill.run import Run
    from ..evaluate.datasets import Dataset
    from ..report.schema import Report
    from ..runtime.bundle import Bundle
    from .chain import Measured, Stage


ON_HOST = "exported fp32, host"


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
) -> Report:
    """Measure a bundle here or on a device, its teacher and student beside it where they are at hand; write the report.

    Raises:
        EdgeclipError: no bundle, no dataset, a dataset that cannot be read, ``out`` cannot be written to, or the
            device cannot be reached.
    """
    from ..device.place import open_place
    from ..evaluate.datasets import open_dataset
    from ..report import write_report
    from ..runtime.bundle import Bundle
    from .chain import measure

    writable(out / "report.json")
    opened, data = Bundle.open(bundle), open_dataset(dataset)
    stages = _chain(opened, profile, teacher, threads or profile.runtime.threads, here=device is None)
    with open_place(device) as place:
        measured = measure(stages, data, place, seconds=seconds, sustained=sustained)
    words = ["report", str(bundle), "--profile", profile.name, "--dataset", str(dataset), "--out", str(out)]
    commands = [
        ["export", opened.manifest.source, "--out", str(bundle)],
        words + (["--device", device] if device else []),
    ]
    result = _judge(measured, opened, profile, data, [shlex.join(["edgeclip", *words]) for words in commands])
    result = result.model_copy(update={"next": suggest(result, profile, bundle, profile.name)})
    write_report(result, out)
    return result


def _judge(measured: Measured, bundle: Bundle, profile: Profile, data: Dataset, commands: list[str]) -> Report:
    """The report of what was measured."""
    from ..report import report

    reference = measured.reference
    machine = {name: value for name, value in measured.machine.items() if value is not None}
    if reference and profile.device.model_dump(exclude_none=True) == machine:
        reference = reference.model_copy(update={"profile_ms": profile.reference.p50_ms})
    return report(
        measured.rows,
        name=bundle.manifest.name,
        budget=profile.budget.model_dump(exclude_none=True),
        dataset={"name": data.name, "images": len(data), "classes": len(data.classnames), "templates": data.templates},
        profile=_profile_facts(profile),
        device=machine,
        software=bundle.manifest.made_with,
        student=bundle.manifest.student,
        commands=commands,
        rule=measured.rule,
        reference=reference,
        before=measured.before,
        after=measured.after,
    )


def _chain(bundle: Bundle, profile: Profile, teacher: str | None, threads: int, *, here: bool) -> list[Stage]:
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


def _teacher(asked: str | None, run: Run | None, threads: int) -> PixelEncoder | None:
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


def _open_encoder(name: str, threads: int) -> PixelEncoder:
    """A bundle's, run's or teacher's encoder that uses ``threads`` CPU threads."""
    from ..loading import load

    if (Path(name) / "bundle.json").is_file():
        from ..runtime.bundle import Bundle

        return Bundle.open(Path(name)).encoder(threads=threads)
    encoder = load(name)
    if not isinstance(encoder, PixelEncoder):
        raise EdgeclipError(f"{name} only encodes: its image tower cannot be timed by itself")
    import torch

    torch.set_num_threads(threads)
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
        "threads": profile.runtime.threads,
        "held_out_error": {name: model.held_out_error for name, model in profile.cost_model.items()},
    }
