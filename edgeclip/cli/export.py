"""Make it deployable."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..base.errors import EdgeclipError
from .options import FORCE, JSON, PATH, THREADS, Number, complete_models, shipped, tell

if TYPE_CHECKING:
    from ..runtime.bundle import Bundle
    from ..runtime.engines.tensorrt.config import EngineConfig


@click.command(name="export")
@click.argument("run", type=str, shell_complete=complete_models)
@click.option("--out", type=PATH, required=True, help="Write the bundle to this folder.")
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(["fp32", "fp16", "int8", "auto"]),
    default=("auto",),
    show_default=True,
    help="auto: every precision that the device supports.",
)
@click.option(
    "--profile",
    "profile_name",
    metavar="P",
    help="Export for the device of this profile.  [default: the run's device, else this machine]",
    shell_complete=shipped("edgeclip.profiles"),
)
@click.option(
    "--recipe",
    "recipes",
    multiple=True,
    type=click.Choice(["x86", "x86-vnni", "arm", "tensorrt"]),
    help="Also write int8 graphs for these targets.",
)
@click.option("--calibration", type=PATH, help="Folder of calibration images.  [default: the run's training images]")
@click.option(
    "--dataset", type=PATH, help="Labelled images (one folder per class) to measure the accuracy of each precision on."
)
@click.option(
    "--accuracy-drop",
    type=Number(0, 100),
    default=1.0,
    show_default=True,
    help="Top-1 that a precision may lose on --dataset, percentage points.",
)
@click.option(
    "--labels", type=PATH, help="Also write a classifier graph: image in, one probability per line of this file out."
)
@click.option(
    "--exif",
    type=click.Choice(["apply", "ignore"]),
    help="Apply or ignore the EXIF orientation.  [default: as in the run; ignore, as open_clip does]",
)
@click.option("--no-text-tower", is_flag=True, help="Store the embeddings of --labels instead of a text tower.")
@click.option("--uint8", "bytes_input", is_flag=True, help="Also write a graph that takes uint8 RGB squares, NHWC.")
@click.option("--huggingface", type=PATH, help="Also write a ViT in Hugging Face's CLIP layout to this folder.")
@click.option("--tensorrt", is_flag=True, help="Also build TensorRT engines. RUN may be a bundle: no torch is needed.")
@click.option(
    "--target-gpu", metavar="SM", help="sm86, sm89, …: build for a GPU that this machine does not have (TensorRT-RTX)."
)
@click.option(
    "--max-batch",
    type=click.IntRange(1, 4096),
    default=32,
    show_default=True,
    help="Maximum batch size of the engines.",
)
@click.option(
    "--workspace-mb",
    type=click.IntRange(1, 1 << 20),
    default=1024,
    show_default=True,
    help="GPU memory for the engine builder, MB.",
)
@click.option(
    "--version-compatible", is_flag=True, help="Build engines that later TensorRT of this major version loads, too."
)
@click.option("--hardware-compatible", is_flag=True, help="Build engines that other GPUs from Ampere on run, too.")
@click.option("--dla", type=click.IntRange(0, 1), help="Run supported layers on this DLA core of a Jetson.")
@click.option("--opset", type=click.IntRange(1, 100), default=20, show_default=True, help="ONNX opset.")
@THREADS
@FORCE
@JSON
def export_command(
    run: str,
    out: Path,
    precisions: tuple[str, ...],
    calibration: Path | None,
    opset: int,
    threads: int | None,
    force: bool,
    as_json: bool,
    tensorrt: bool,
    target_gpu: str | None,
    max_batch: int,
    workspace_mb: int,
    version_compatible: bool,
    hardware_compatible: bool,
    dla: int | None,
    recipes: tuple[str, ...],
    profile_name: str | None,
    dataset: Path | None,
    accuracy_drop: float,
    labels: Path | None,
    no_text_tower: bool,
    bytes_input: bool,
    exif: str | None,
    huggingface: Path | None,
) -> None:
    """Export a run or an open_clip model to a bundle: ONNX in each precision, checked against PyTorch.

    Example:  edgeclip export runs/pi --out bundles/pi
    """
    from ..base.files import writable
    from ..base.folders import refuse_foreign
    from ..runtime.bundle import KIND
    from .tables import bundle_table, show, tried_table

    for folder in filter(None, (out, huggingface)):
        writable(folder)
    refuse_foreign(out, KIND, force=force)
    special = {"version_compatible": version_compatible, "hardware_compatible": hardware_compatible, "dla": dla}
    engines = _engines(tensorrt, target_gpu, max_batch, workspace_mb, **special)
    if engines and (Path(run) / "bundle.json").is_file():
        from ..exporting.rebuild import add_engines

        bundle = add_engines(Path(run), out, engines, force=force)
    else:
        wishes: dict[str, Any] = {
            "precisions": precisions,
            "recipes": recipes,
            "opset": opset,
            "bytes_input": bytes_input,
            "text_tower": not no_text_tower,
        }
        asked: dict[str, Any] = {
            "dataset": dataset,
            "accuracy_drop": accuracy_drop,
            "labels": labels,
            "huggingface": huggingface,
            "profile_name": profile_name,
            "exif": exif,
            "force": force,
        }
        bundle = _export(run, out, calibration, threads, {**wishes, "engines": engines}, **asked)
    manifest = bundle.manifest
    tell(f"wrote {bundle.path}; recommended: {manifest.recommended or manifest.recommendation}")
    show(as_json, manifest.as_data(), lambda: tried_table(manifest) if manifest.tried else bundle_table(manifest))


def _export(
    source: str,
    out: Path,
    calibration: Path | None,
    threads: int | None,
    wishes: dict[str, Any],
    *,
    dataset: Path | None,
    accuracy_drop: float,
    labels: Path | None,
    huggingface: Path | None,
    profile_name: str | None,
    exif: str | None,
    force: bool,
) -> Bundle:
    """Open the model and what it is judged by, and export it."""
    from ..base.folders import refuse_foreign
    from ..chain.loading import open_exportable
    from ..profiling.store import load_profile

    target = load_profile(profile_name).target if profile_name else None
    if wishes["engines"]:  # a missing TensorRT is told now, not after minutes
        from ..runtime.engines.tensorrt import library as trt  # noqa: F401
    model, spec, images = open_exportable(source)
    model = model.with_exif(exif) if exif else model
    from ..exporting import export
    from ..exporting.huggingface import KIND, write_huggingface
    from ..exporting.inputs import calibration_files, classes_of, exam_of
    from ..exporting.pipeline import ExportConfig
    from ..exporting.validate import Gate

    if huggingface:
        refuse_foreign(huggingface, KIND, force=force)
    calibrating = calibration or images
    if calibrating is None:
        raise EdgeclipError(f"{source} is not a run, so it has no images to calibrate on: give --calibration FOLDER")
    judged: dict[str, Any] = {"exam": exam_of(model, dataset) if dataset else None, "gate": Gate(drop=accuracy_drop)}
    asked = ExportConfig(**wishes, **judged, classes=classes_of(model, labels) if labels else None)
    with calibration_files(str(calibrating)) as files:
        facts: dict[str, Any] = {"name": out.resolve().name, "source": source, "spec": spec, "target": target}
        bundle = export(model, out, **facts, calibration=files, wishes=asked, threads=threads, force=force)
    if huggingface:
        write_huggingface(model, huggingface, force=force)
    return bundle


def _engines(
    wanted: bool, target_gpu: str | None, largest_batch: int, workspace_mb: int, **special: Any
) -> EngineConfig | None:
    """``EngineConfig`` from the command line's flags; None where no engine is wished for.

    Raises:
        EdgeclipError: a flag about engines is there, and --tensorrt is not.
    """
    if not wanted:
        if target_gpu or any(value not in (None, False) for value in special.values()):
            raise EdgeclipError("--target-gpu, --dla and --…-compatible are about engines: add --tensorrt")
        return None
    from ..runtime.engines.tensorrt.config import EngineConfig

    return EngineConfig(target_gpu, largest_batch, workspace_mb, **special)
