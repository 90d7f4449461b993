"""Steps of the whole chain, each announced by the command that does the same; what is there and valid is used again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.console import say
from ..base.errors import EdgeclipError
from ..base.pictures import image_files
from ..base.visible import without_secrets
from ..selection.config import SelectConfig
from .project import place, read_project

if TYPE_CHECKING:
    from ..distillation.pipeline import Validation
    from ..distillation.run import Run
    from ..profiling.schema import Profile
    from ..runtime.bundle import Bundle
    from ..selection.finalists import WriteGraph
    from ..towers.spec import StudentSpec

THERE = "      already done: kept"


def announce(command: str, **options: object) -> None:
    """Print the command line of a step, so that a user can go on from there; options without a value are left out."""
    say(f"      $ {command_of(command, **options)}")


def command_of(command: str, **options: object) -> str:
    """A command line with these options; one that is None or False is left out, and so are secrets."""
    words = [command]
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        for part in value if isinstance(value, (list, tuple)) else [value]:
            if part is not None and part is not False:
                words.append(flag if part is True else f"{flag} {shlex.quote(without_secrets(str(part)))}")
    return " ".join(words)


def validation_on(dataset: str | Path) -> Validation:
    """Zero-shot top-1 of an encoder on labelled images, which are looked for now.

    Raises:
        EdgeclipError: as :func:`edgeclip.images.datasets.open_dataset`.
    """
    from ..distillation.pipeline import Validation
    from ..evaluation import evaluate
    from ..images.datasets import open_dataset

    data, name = open_dataset(dataset), str(dataset)
    name = str(Path(name).absolute()) if Path(name).exists() else name  # a run is gone on with from any folder
    return Validation(name, lambda encoder: evaluate(encoder, data).top1)


def graph_writer(profile: Profile, *, wanted: bool) -> tuple[WriteGraph | None, str]:
    """What finalists are built with, where they can be measured for ``profile`` here; else None, and why."""
    from ..selection.finalists import why_unmeasured

    why = why_unmeasured(profile) if wanted else "--no-measure"
    if why:
        return None, f"ranked by predicted latency, top candidates not timed: {why}"
    from ..exporting.untrained import export_untrained

    return export_untrained, ""


def chosen_student(
    profile: Profile,
    max_image_size: int,
    *,
    given: StudentSpec | None = None,
    selection: SelectConfig | None = None,
) -> StudentSpec:
    """The student that was given, for this profile's device, or the best that fits the profile's budget; it is said.

    Raises:
        EdgeclipError: as :func:`edgeclip.selection.select`.
    """
    from ..selection import select
    from ..selection.select import for_profile

    if given:
        spec = for_profile(given, profile)
    else:
        selection = selection or SelectConfig()
        writer, why = graph_writer(profile, wanted=selection.measure)
        limits: dict[str, Any] = {"max_image_size": selection.max_image_size or max_image_size}
        limits["precisions"] = selection.precisions or None
        spec = select(profile, profile.budget, **limits, write_graph=writer)[0]
        if writer is None:
            say(why)
    predictor = spec.target.profile if spec.target else "hand"
    predicted = f", {spec.predicted_ms:.2f} ms predicted by {predictor}" if spec.predicted_ms else ""
    timed = f", {spec.measured_ms:.2f} ms measured untrained" if spec.measured_ms else ""
    say(f"student: {spec.name} ({spec.precision}{predicted}{timed})")
    return spec


def profiled(
    file: Path,
    name: str,
    *,
    seconds: float,
    families: Sequence[str] = (),
    engine: str | None = None,
    provider: str | None = None,
    anew: bool = False,
) -> Profile:
    """This device's profile in ``file``: the one that is there, if it is of this device and engine, or a new one.

    ``anew``: a new one whatever is there.
    """
    from ..device.facts import describe_device
    from ..profiling.probe import profile as measure_device
    from ..profiling.store import load_profile

    wanted: dict[str, Any] = {"engine": engine, "provider": provider}
    announce(f"edgeclip profile {name}", out=file, seconds=f"{seconds:g}", family=list(families), **wanted)
    if file.is_file() and not anew:
        profile = load_profile(file)
        runtime = profile.runtime
        if (
            profile.device == describe_device()
            and engine in (None, runtime.name)
            and provider in (None, runtime.provider)
        ):
            say(THERE)
            return profile
        say("      the existing profile is of another device, engine or provider: measuring again")
    measured = measure_device(name, seconds=seconds, families=families, **wanted)
    measured.save(file)
    return measured


def exported_run(run: Run, out: Path, *, threads: int | None) -> Bundle:
    """The run's bundle in ``out``: the one that is there, if it is of this student, or a new one."""
    from ..runtime.bundle import Bundle

    announce(f"edgeclip export {shlex.quote(str(run.path))}", out=out, threads=threads)
    if (out / "bundle.json").is_file():
        bundle = Bundle.open(out)
        if bundle.manifest.source_fingerprint == run.encoder().fingerprint:
            say(THERE)
            return bundle
    return exported(str(run.path), out, ("auto",), threads=threads)


def exported(
    source: str,
    out: Path,
    precisions: tuple[str, ...],
    *,
    images: Path | None = None,
    threads: int | None = None,
    target: Profile | None = None,
) -> Bundle:
    """A run's or a teacher's bundle, calibrated on ``images``, or on those that it learnt from."""
    from ..exporting import export
    from ..exporting.inputs import calibration_files
    from ..exporting.plan import ExportPlan
    from .loading import open_exportable

    model, spec, learnt_from = open_exportable(source)
    with calibration_files(str(images or learnt_from)) as files:
        plan = ExportPlan(target=target.target if target else None, precisions=precisions)
        given: dict[str, Any] = {"source": source, "spec": spec, "threads": threads, "force": True}
        return export(model, out, **given, calibration=files, plan=plan)


def next_commands(folder: Path) -> list[str]:
    """What people do next with a project that has its report, each as a command line that works."""
    from ..images.datasets import open_dataset

    project = read_project(folder, trust=True)
    images, run, bundle = Path(place(folder, project.images)), folder / "run", folder / "bundle"
    picture = next(image_files(images), None) if images.is_dir() else None
    classes = ["a cat", "a dog"]
    if project.dataset:
        classes = [name for name in open_dataset(place(folder, project.dataset)).classnames if "," not in name][:3]
    shown = shlex.quote(str(images / picture)) if picture else "PICTURE.jpg"
    return [
        command_of(f"edgeclip classify {shlex.quote(str(bundle))} {shown}", labels=",".join(classes)),
        f"edgeclip measure {shlex.quote(str(bundle))} --device ssh://USER@HOST",
        command_of(
            f"edgeclip push {shlex.quote(str(run))} USER/NAME", bundle=bundle, report=folder / "report/report.json"
        ),
    ]


def refuse_anothers(file: Path) -> None:
    """Refuse to measure over a profile that the user put there, and that is of another device.

    Raises:
        EdgeclipError: it is.
    """
    from ..device.facts import describe_device
    from ..profiling.store import load_profile

    if (device := load_profile(str(file)).device) != describe_device():
        raise EdgeclipError(
            f'{file} is of another device ({device.cpu}), and edgeclip did not write it: profile = "{file.name}" uses '
            "it; to measure this device, move it to another place"
        )
