"""Choose the student and teach it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..console import say
from ..errors import require
from ..files import read_document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..device.schema import Profile
    from ..distill.config import DistillConfig
    from ..distill.run import Run
    from ..distill.teachers import Teacher


def distill(
    profile: Profile,
    teacher: str | Sequence[str],
    images: str | Path,
    texts: Path,
    out: Path,
    *,
    classes: bool = False,
    spec_file: Path | None = None,
    config_file: Path | None = None,
    config: DistillConfig | None = None,
    store: Path | None = None,
    dataset: Path | None = None,
    resume: bool = False,
) -> Run:
    """Choose the student, unless ``spec_file`` names one, and teach it. Returns the finished run.

    ``teacher`` names one or several, as :func:`~edgeclip.loading.load_encoder` reads them, or ``store:FOLDER`` for one
    whose embeddings are kept there. ``texts`` is a file of sentences, or of class names where ``classes`` says so. With
    ``dataset``, the student is judged on it while it learns, and the best one is kept.

    Raises:
        EdgeclipError: an input is missing or unfit, ``out`` is something else, or nothing fits the budget.
    """
    require("torch", "distill")
    from ..distill.config import DistillConfig
    from ..distill.pipeline import distill as teach
    from ..distill.run import Run
    from ..student.spec import StudentSpec
    from .choose import choose

    if config_file:
        config = read_document(config_file, DistillConfig)
    teachers = [open_teacher(name) for name in ([teacher] if isinstance(teacher, str) else teacher)]
    if spec_file:
        spec = read_document(spec_file, StudentSpec)
    elif resume:
        spec = Run.open(out).document.spec
    else:
        spec = choose(profile, max_image_size=teachers[0].image_size)
    predicted = f", {spec.predicted_ms:.2f} ms predicted by {spec.predicted_by}" if spec.predicted_ms else ""
    measured = f", {spec.measured_ms:.2f} ms measured untrained" if spec.measured_ms else ""
    say(f"student: {spec.name} ({spec.precision}{predicted}{measured})")
    told: dict[str, Any] = {"classes": classes, "config": config, "store": store, "resume": resume}
    if dataset:
        from ..evaluate import evaluate
        from ..evaluate.datasets import open_dataset

        data = open_dataset(dataset)
        told |= {"dataset": str(dataset.absolute()), "judge": lambda encoder: evaluate(encoder, data).top1}
    return teach(spec, teachers, images, texts, out, **told)


def open_teacher(name: str) -> Teacher:
    """A teacher by name, as :func:`~edgeclip.loading.load_encoder` reads it, or ``store:FOLDER``.

    Raises:
        EdgeclipError: nothing of that name.
    """
    from ..distill.teachers import STORED, StoredTeacher, as_teacher
    from ..loading import load_encoder

    if name.startswith(STORED):
        return StoredTeacher(Path(name.removeprefix(STORED)))
    return as_teacher(name, load_encoder(name))
