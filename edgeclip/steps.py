"""The stages as the commands call them: find the inputs, make one call, hand on. `cli` and `demo` share these."""

from __future__ import annotations

import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .console import say
from .errors import EdgeclipError, require
from .files import read_document, writable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .device.facts import Conditions
    from .device.schema import Profile
    from .distill.config import DistillConfig
    from .distill.run import Run
    from .encoder import PixelEncoder
    from .measure import Stage
    from .report.schema import Report
    from .runtime.bundle import Bundle


def find_profile(name: str, budget: dict[str, float | None]) -> Profile:
    """The profile of that name or path, its budget overridden by what is given.

    Raises:
        EdgeclipError: there is none, or its file has faults.
    """
    from .device.store import load_profile

    found = load_profile(name)
    given = {line: limit for line, limit in budget.items() if limit is not None}
    return found.model_copy(update={"budget": found.budget.model_copy(update=given)})


def distill(
    profile: Profile,
    teacher: str,
    images: Path,
    texts: Path,
    out: Path,
    *,
    spec_file: Path | None = None,
    config_file: Path | None = None,
    config: DistillConfig | None = None,
    resume: bool = False,
) -> Run:
    """Choose the student, unless ``spec_file`` names one, and teach it. Returns the finished run.

    Raises:
        EdgeclipError: an input is missing or unfit, ``out`` is something else, or nothing fits the budget.
    """
    require("torch", "distill")
    from .distill.config import DistillConfig
    from .distill.pipeline import distill as teach
    from .distill.run import Run
    from .loading import load_teacher
    from .student.select import select
    from .student.spec import StudentSpec

    if config_file:
        config = read_document(config_file, DistillConfig)
    master = load_teacher(teacher)
    if spec_file:
        spec = read_document(spec_file, StudentSpec)
    elif resume:
        spec = Run.open(out).document.spec
    else:
        spec = select(profile, profile.budget, max_image_size=master.image_size, top=1)[0]
    predicted = f", {spec.predicted_ms:.2f} ms predicted by {spec.predicted_by}" if spec.predicted_ms else ""
    say(f"student: {spec.name} ({spec.precision}{predicted})")
    return teach(
        spec, master, images, texts, out, config=config or DistillConfig(), resume=resume, teacher_name=teacher
    )


def export(
    source: str,
    out: Path,
    *,
    precisions: Sequence[str] = ("auto",),
    calibration: Path | None = None,
    opset: int = 20,
    threads: int | None = None,
) -> Bundle:
    """Export a run's folder, or any teacher by name, to a bundle at ``out``.

    Raises:
        EdgeclipError: nothing of that name, no images to calibrate on, or ``out`` is in the way.
    """
    require("torch", "distill")
    require("onnx", "distill")
    from .distill.data import find_images
    from .distill.run import Run
    from .export import export as make_bundle
    from .loading import load_teacher

    writable(out)
    if (Path(source) / "run.json").is_file():
        run = Run.open(Path(source))
        model, spec = run.encoder(), run.document.spec
        calibration = calibration or Path(run.document.images)
    else:
        model, spec = load_teacher(source), None
    if calibration is None:
        raise EdgeclipError(f"{source} is no run, so it has no images to calibrate on: give --calibration FOLDER")
    return make_bundle(
        model,
        out,
        name=out.name,
        source=source,
        precisions=precisions,
        calibration=find_images(calibration),
        spec=spec,
        opset=opset,
        threads=threads,
    )


def classify(
    bundle: Path, images: Sequence[Path], labels: str, *, precision: str | None = None, threads: int | None = None
) -> list[dict[str, Any]]:
    """The labels of each image with their probabilities, the likeliest first.

    Raises:
        EdgeclipError: no bundle, no labels, or an image that cannot be read.
    """
    from PIL import Image

    from .runtime.bundle import Bundle

    names = list(dict.fromkeys(label.strip() for label in labels.split(",") if label.strip()))
    if not names:
        raise EdgeclipError('no labels: give them comma-separated, as in --labels "a cat,a dog"')
    opened = Bundle.open(bundle)
    encoder = opened.encoder(precision, threads=threads)
    answers = []
    for file in images:
        try:
            with Image.open(file) as image:
                odds = opened.classify([image], names, encoder)[0]
        except FileNotFoundError:
            raise EdgeclipError(f"{file}: no such image") from None
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise EdgeclipError(f"{file}: not an image that can be read ({error})") from error
        ranked = sorted(zip(names, odds.tolist(), strict=True), key=lambda pair: -pair[1])
        answers.append({"image": str(file), "labels": ranked})
    return answers


def report(
    bundle: Path,
    profile: Profile,
    dataset: Path,
    out: Path,
    *,
    teacher: str | None = None,
    seconds: float = 20,
    threads: int | None = None,
) -> Report:
    """Measure a bundle here, the teacher and the student beside it where they are at hand, and write the report.

    Raises:
        EdgeclipError: no bundle, no dataset, a dataset that cannot be read, or ``out`` cannot be written to.
    """
    from .device.facts import conditions, describe_device
    from .evaluate.datasets import open_dataset
    from .measure import measure
    from .report import report as make_report
    from .report import write_report
    from .runtime.bundle import Bundle

    writable(out / "report.json")
    opened, data = Bundle.open(bundle), open_dataset(dataset)
    stages = _chain(opened, profile, teacher, threads or profile.runtime.threads)
    result = make_report(
        measure(stages, data, seconds=seconds),
        name=opened.manifest.name,
        budget=profile.budget.model_dump(exclude_none=True),
        dataset={"name": data.name, "images": len(data), "classes": len(data.classnames), "templates": data.templates},
        profile=_profile_facts(profile),
        device={**describe_device().model_dump(exclude_none=True), **_told(conditions())},
        software=opened.manifest.made_with,
        student=opened.manifest.student,
        commands=_commands(opened, bundle, profile, dataset, out),
    )
    write_report(result, out)
    return result


def _chain(bundle: Bundle, profile: Profile, teacher: str | None, threads: int) -> list[Stage]:
    """Teacher, student and every variant, each compared with the one before; what is not at hand is left out."""
    from .measure import Stage

    stages = []
    source = Path(bundle.manifest.source)
    run = _run_at(source)
    if name := teacher or (run.document.teacher if run else None):
        stages.append(Stage("teacher", _open_encoder(name, threads)))
    if run:
        before = stages[-1].name if stages else None
        stages.append(Stage("student fp32", _open_encoder(str(source), threads), compared_to=before))
    spec = bundle.manifest.student
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


def _run_at(source: Path) -> Run | None:
    """The run a bundle was made from, where it is on this machine and torch is installed."""
    if not (source / "run.json").is_file() or find_spec("torch") is None:
        say("the run is not at hand here (or torch is not): the report has no row for the student before its export")
        return None
    from .distill.run import Run

    return Run.open(source)


def _open_encoder(name: str, threads: int) -> PixelEncoder:
    """A bundle's, run's or teacher's encoder that uses ``threads`` CPU threads."""
    from .loading import load

    if (Path(name) / "bundle.json").is_file():
        from .runtime.bundle import Bundle

        return Bundle.open(Path(name)).encoder(threads=threads)
    encoder = load(name)
    import torch

    torch.set_num_threads(threads)
    return encoder


def _predicted(profile: Profile, spec: dict[str, Any], precision: str) -> float | None:
    """What the profile predicts for the student in this precision, ms; None where it does not speak for it."""
    from .device.costmodel import predict_ms
    from .student.spec import StudentSpec

    if not spec or precision not in profile.cost_model:
        return None
    body = {key: value for key, value in spec.items() if key not in ("format", "version")}
    return predict_ms(profile, StudentSpec.model_validate(body).workload, precision)  # type: ignore[arg-type]


def _told(conditions: Conditions) -> dict[str, Any]:
    """What the system tells of itself while it is measured."""
    return {name: value for name, value in vars(conditions).items() if value is not None}


def _profile_facts(profile: Profile) -> dict[str, Any]:
    return {
        "name": profile.name,
        "provenance": profile.provenance,
        "runtime": f"{profile.runtime.name} {profile.runtime.version}",
        "threads": profile.runtime.threads,
        "held_out_error": {name: model.held_out_error for name, model in profile.cost_model.items()},
    }


def _commands(bundle: Bundle, path: Path, profile: Profile, dataset: Path, out: Path) -> list[str]:
    """The command lines that lead here, from the export on."""
    made = ["edgeclip", "export", bundle.manifest.source, "--out", str(path)]
    proven = ["edgeclip", "report", str(path), "--profile", profile.name, "--dataset", str(dataset), "--out", str(out)]
    return [shlex.join(made), shlex.join(proven)]
