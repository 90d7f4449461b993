"""Deploying a student: export, check on the device, use, share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.errors import EdgeclipError, require
from ..base.folders import refuse_foreign
from ..chain.loading import load
from ..exporting.config import HUGGINGFACE, ExportConfig
from ..measurement import verify as checked
from ..measurement.config import MeasureConfig
from ..measurement.schema import Verification
from ..runtime.bundle import KIND, Bundle
from ..runtime.classify import ImageAnswer
from ..runtime.classify import classify as ranked
from ..runtime.engines.tensorrt.config import EngineConfig
from ..runtime.target import Precision
from .opening import BundleLike, ProfileLike, as_profile, bundle_path, is_bundle, run_path

if TYPE_CHECKING:
    from ..distillation.run import Run
    from ..encoder import Encoder

__all__ = [
    "HUGGINGFACE",
    "EngineConfig",
    "ExportConfig",
    "add_engines",
    "classify",
    "export",
    "load",
    "push",
    "verify",
    "write_huggingface",
]


def export(
    model: Run | str | Path,
    out: str | Path,
    *,
    profile: ProfileLike | None = None,
    config: ExportConfig | None = None,
    calibration: str | Path | None = None,
    threads: int | None = None,
    force: bool = False,
) -> Bundle:
    """Export a run or an open_clip model to a bundle: ONNX in each precision, checked against PyTorch.

    Args:
        model: a run or its folder, or a teacher's name.
        out: the bundle's folder.
        profile: of the device that it is for; when None, the run's device, else this machine.
        config: what the bundle holds; every precision that the device supports when None.
        calibration: images for int8; the run's training images when None.
        threads: CPU threads for timing; the target's when None.
        force: whether a bundle at ``out`` may be replaced.

    Raises:
        EdgeclipError: no such model, nothing to calibrate on, ``out`` is in the way, or an argument is unfit.
    """
    require("torch", "distill")
    require("onnx", "distill")
    from ..chain.loading import open_exportable
    from ..exporting import export as exported
    from ..exporting.inputs import calibration_files
    from ..exporting.plan import plan_of

    config, out = config or ExportConfig(), Path(out)
    refuse_foreign(out, KIND, force=force)
    target = None if profile is None else as_profile(profile).target
    if config.engines:
        _refuse_no_tensorrt()
    source = str(model if isinstance(model, (str, Path)) else run_path(model))
    encoder, spec, images = open_exportable(source)
    encoder = encoder.seeing(config.exif, config.ground)
    calibrating = calibration or images
    if calibrating is None:
        raise EdgeclipError(f"{source} is not a run, so it has no images to calibrate on: give --calibration FOLDER")
    plan = plan_of(encoder, config, target)
    with calibration_files(str(calibrating)) as files:
        given: dict[str, Any] = {"source": source, "spec": spec, "threads": threads, "force": force}
        return exported(encoder, out, **given, calibration=files, plan=plan)


def write_huggingface(model: Run | str | Path, out: str | Path, *, force: bool = False) -> None:
    """Write a run's student, or a model, to ``out`` as ``transformers.CLIPModel.from_pretrained`` reads it.

    Raises:
        EdgeclipError: no such model, it is no ViT, or ``out`` is in the way.
    """
    require("torch", "distill")
    from ..chain.loading import open_exportable
    from ..exporting.huggingface import write_huggingface as written

    encoder, _, _ = open_exportable(str(model if isinstance(model, (str, Path)) else run_path(model)))
    written(encoder, Path(out), force=force)


def add_engines(bundle: BundleLike, out: str | Path, engines: EngineConfig, *, force: bool = False) -> Bundle:
    """Copy a bundle to ``out`` and build a TensorRT engine from each of its graphs; no torch is needed.

    Raises:
        EdgeclipError: no bundle, no TensorRT, no GPU and none named, or ``out`` is in the way.
    """
    from ..exporting.rebuild import add_engines as added

    refuse_foreign(Path(out), KIND, force=force)
    return added(bundle_path(bundle), Path(out), engines, force=force)


def _refuse_no_tensorrt() -> None:
    """Tell now, not after minutes, that TensorRT is missing."""
    from ..runtime.engines.tensorrt import library  # noqa: F401 (its import is the check)


def verify(
    bundle: BundleLike,
    *,
    device: str | None = None,
    engine: str | None = None,
    provider: str | None = None,
    threads: int | None = None,
) -> Verification:
    """Check that a device reproduces the tokens, pixels and embeddings recorded at export.

    Args:
        bundle: an object, a folder or an archive.
        device: ``ssh://user@host`` or ``adb://SERIAL``; this machine when None.
        engine: what executes it; the target's when None, as the next two.
        provider: of the engine.
        threads: CPU threads.

    Raises:
        EdgeclipError: no bundle, a file of it is missing or altered, or the device cannot be reached.
    """
    config = MeasureConfig(engine=engine, provider=provider, threads=threads)
    return checked(bundle_path(bundle), device=device, config=config)


def classify(
    model: Bundle | Encoder | str | Path,
    images: str | Path | Sequence[str | Path],
    labels: str | Path | Sequence[str] | None = None,
    *,
    top: int = 10,
    precision: Precision | None = None,
    engine: str | None = None,
    provider: str | None = None,
    threads: int | None = None,
) -> list[ImageAnswer]:
    """Classify images zero-shot: rank the labels of each image.

    Args:
        model: a bundle, or whatever :func:`load` opens: a run, a teacher by name, ``local-dir:FOLDER``.
        images: files, folders, patterns, or a .txt file that lists them.
        labels: a list; ``"a cat,a dog"``; a file with a label a line; or a folder of class folders. None: the classes
            of a bundle without text tower.
        top: how many labels of each image.
        precision: of a bundle; the recommended one when None. The next three are of a bundle, too.
        engine: what executes it; the target's when None.
        provider: of the engine.
        threads: CPU threads.

    Raises:
        EdgeclipError: no such model, no labels, no images, or none of the images can be read.
    """
    files = [Path(one) for one in ([images] if isinstance(images, (str, Path)) else images)]
    names = labels if labels is None or isinstance(labels, str) else _listed(labels)
    settings: dict[str, Any] = {"precision": precision, "engine": engine, "provider": provider, "threads": threads}
    return ranked(_classifier(model), files, names, **settings, top=top)


def _listed(labels: Path | Sequence[str]) -> str | list[str]:
    return str(labels) if isinstance(labels, Path) else list(labels)


def _classifier(model: Bundle | Encoder | str | Path) -> Path | Encoder:
    """A bundle's path, since a variant of it is chosen later; else an encoder."""
    if isinstance(model, Bundle):
        return model.path
    if not isinstance(model, (str, Path)):
        return model
    is_path = not is_bundle(model) and not _is_encoder(str(model))
    return Path(model) if is_bundle(model) or is_path else load(str(model))


def _is_encoder(name: str) -> bool:
    """Whether a name is a run's folder or a model, and no path."""
    return name == "demo" or ":" in name or (Path(name) / "run.json").is_file()


def push(
    run: Run | str | Path,
    repo: str,
    *,
    bundle: BundleLike | None = None,
    report: str | Path | None = None,
    licence: str = "other",
    private: bool = False,
    to: str | Path | None = None,
) -> str:
    """Upload a run's student to a model hub, with a model card of its settings and results; where it lies then.

    Args:
        run: finished.
        repo: ``USER/NAME``.
        bundle: uploads its ONNX files too, for transformers.js and Optimum.
        report: a report.json, whose tables go into the card.
        licence: by the hub's name for it.
        private: makes a new repository private.
        to: writes the files to this folder instead; nothing is uploaded.

    Raises:
        EdgeclipError: no such run, bundle or report, the run is not finished, or the hub refuses.
    """
    from ..ecosystem.push import push as pushed
    from ..ecosystem.push import write_model

    path, made = run_path(run), None if bundle is None else bundle_path(bundle)
    card_report = None if report is None else Path(report)
    if to is not None:
        write_model(path, repo, Path(to), bundle=made, report=card_report, licence=licence)
        return str(to)
    return pushed(path, repo, bundle=made, report=card_report, licence=licence, private=private)
