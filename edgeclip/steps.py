"""The stages as the commands call them: find the inputs, make one call, hand on. `cli` and `demo` share these."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .console import say
from .errors import EdgeclipError, require
from .files import read_document, writable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .device.schema import Profile
    from .distill.config import DistillConfig
    from .distill.run import Run
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
        model, spec, folder = run.encoder(), run.document.spec, calibration or Path(run.document.images)
    else:
        model, spec, folder = load_teacher(source), None, calibration
    if folder is None:
        raise EdgeclipError(f"{source} is no run, so it has no images to calibrate on: give --calibration FOLDER")
    return make_bundle(
        model,
        out,
        name=out.name,
        source=source,
        precisions=precisions,
        calibration=find_images(folder),
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
