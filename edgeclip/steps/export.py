"""Open what is to be exported, and export it."""

from __future__ import annotations

import heapq
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import EdgeclipError, require
from ..files import writable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..export.engine import Build
    from ..export.extras import Classes
    from ..export.validate import Exam
    from ..runtime.bundle import Bundle
    from ..student.openclip import OpenClipEncoder
    from ..student.spec import StudentSpec

EXAM_IMAGES = 1000
SAMPLE = 512  # images taken out of shards to calibrate on


@dataclass(frozen=True)
class Options:
    """What the command line may ask for beside precisions; see :class:`edgeclip.export.pipeline.Wishes`."""

    targets: Sequence[str] = ()
    dataset: Path | None = None
    accuracy_drop: float = 1.0
    labels: Path | None = None
    bytes_input: bool = False
    huggingface: Path | None = None
    engines: Build | None = None


def export(
    source: str,
    out: Path,
    *,
    precisions: Sequence[str] = ("auto",),
    calibration: Path | None = None,
    opset: int = 20,
    threads: int | None = None,
    options: Options | None = None,
) -> Bundle:
    """Export a run's folder, or any teacher by name, to a bundle at ``out``.

    Raises:
        EdgeclipError: nothing of that name, no images to calibrate on, or ``out`` is in the way.
    """
    require("torch", "distill")
    require("onnx", "distill")
    from ..export import export as make_bundle
    from ..export.pipeline import Wishes
    from ..export.validate import Gate

    writable(out)
    options = options or Options()
    if options.engines:  # a missing TensorRT is told now, not after minutes
        from ..runtime import trt  # noqa: F401
    model, spec, images = _open(source)
    calibrating = calibration or images
    if calibrating is None:
        raise EdgeclipError(f"{source} is no run, so it has no images to calibrate on: give --calibration FOLDER")
    wishes = Wishes(
        precisions=precisions,
        targets=options.targets,
        opset=opset,
        gate=Gate(drop=options.accuracy_drop),
        exam=_exam(model, options.dataset) if options.dataset else None,
        classes=_classes(model, options.labels) if options.labels else None,
        bytes_input=options.bytes_input,
        engines=options.engines,
    )
    with tempfile.TemporaryDirectory() as scratch:
        files = _files(str(calibrating), Path(scratch))
        bundle = make_bundle(
            model, out, name=out.name, source=source, calibration=files, wishes=wishes, spec=spec, threads=threads
        )
    if options.huggingface:
        from ..export.huggingface import write_huggingface

        write_huggingface(model, options.huggingface)
    return bundle


def _files(images: str, scratch: Path) -> list[Path]:
    """Image files to calibrate on. Of what lies in shards or in a dataset, a fixed choice is written to ``scratch``."""
    from ..distill.sources import digest, find_images, open_source

    if "://" not in images and not images.startswith("hf:") and not images.endswith(".tar"):
        return find_images(Path(images))
    source = open_source(images, scratch)
    chosen = heapq.nsmallest(SAMPLE, range(len(source)), key=lambda row: digest([source.key(row)]))
    files = [scratch / f"{digest([source.key(row)])[:32]}{Path(source.key(row)).suffix}" for row in chosen]
    for row, file in zip(chosen, files, strict=True):
        file.write_bytes(source.read(row))
    return files


def _open(source: str) -> tuple[OpenClipEncoder, StudentSpec | None, str | None]:
    """The model, its spec where it is a student, and the images it was trained on."""
    from ..distill.run import Run
    from ..loading import load_teacher

    if (Path(source) / "run.json").is_file():
        run = Run.open(Path(source))
        return run.encoder(), run.document.spec, run.document.images
    return load_teacher(source), None, None


def _exam(model: OpenClipEncoder, folder: Path) -> Exam:
    """A labelled dataset as the exporter asks it: pixels, labels, and the model's own class embeddings."""
    import numpy as np

    from ..evaluate.datasets import open_dataset
    from ..evaluate.zeroshot import class_embeddings
    from ..export.validate import Exam

    data = open_dataset(folder)
    asked = set(np.linspace(0, len(data) - 1, EXAM_IMAGES).astype(int))  # evenly over the classes, which lie in order
    pixels, labels = [], []
    for number, (image, label) in enumerate(data):
        if number in asked:
            pixels.append(model.preprocess([image])[0])
            labels.append(label)
    classes = class_embeddings(model, data.classnames, data.templates)
    return Exam(np.stack(pixels), np.asarray(labels, np.int64), classes)


def _classes(model: OpenClipEncoder, file: Path) -> Classes:
    """The classes named in ``file``, one a line, in the prompt that datasets have by default."""
    from ..evaluate.datasets import TEMPLATES
    from ..evaluate.zeroshot import class_embeddings
    from ..export.extras import Classes

    try:
        labels = list(dict.fromkeys(line.strip() for line in file.read_text("utf-8").splitlines() if line.strip()))
    except (OSError, UnicodeDecodeError) as error:
        raise EdgeclipError(f"{file}: cannot be read as UTF-8 text ({error})") from error
    if len(labels) < 2:
        raise EdgeclipError(f"{file}: {len(labels)} label(s) in it: a classifier tells at least two apart, one a line")
    return Classes(labels, TEMPLATES, class_embeddings(model, labels, TEMPLATES))


def build_for(source: Path, out: Path, build: Build) -> Bundle:
    """Copy the bundle at ``source`` to ``out``, with engines for this device (or the GPU that ``build`` names).

    Raises:
        EdgeclipError: no bundle, no TensorRT, no GPU, or a graph that TensorRT refuses.
    """
    from ..export.rebuild import add_engines

    writable(out)
    return add_engines(source, out, build)


def engine_options(
    wanted: bool, target_gpu: str | None, largest_batch: int, workspace_mb: int, **compatible: Any
) -> Build | None:
    """``Build`` from the command line's flags; None where no engine is wished for.

    Raises:
        EdgeclipError: a flag about engines is there, and --tensorrt is not.
    """
    if not wanted:
        if target_gpu or any(compatible.values()):
            raise EdgeclipError("--target-gpu and --…-compatible are about engines: add --tensorrt")
        return None
    from ..export.engine import Build

    return Build(target_gpu, largest_batch, workspace_mb, **compatible)
