"""Make it deployable."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..base.errors import EdgeclipError
from .keeping import refuse_same
from .options import FORCE, JSON, PATH, THREADS, Colour, Number, complete_models, shipped, tell

if TYPE_CHECKING:
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
@click.option(
    "--ground",
    type=Colour(),
    help="What transparent pixels lie on: ffffff is white.  [default: as in the run; nothing, as in open_clip]",
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
    precisions: tuple[Any, ...],
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
    exif: Any,
    ground: str | None,
    huggingface: Path | None,
) -> None:
    """Export a run or an open_clip model to a bundle: ONNX in each precision, checked against PyTorch.

    Example:  edgeclip export runs/pi --out bundles/pi
    """
    from ..api.bundle import HUGGINGFACE, ExportConfig, add_engines, export, write_huggingface
    from ..api.opening import is_bundle
    from ..base.files import writable
    from ..base.folders import refuse_foreign
    from .tables import bundle_table, show, tried_table

    refuse_same(out=out, huggingface=huggingface)
    for folder, kind in ((out, "bundle"), (huggingface, HUGGINGFACE)):
        if folder:
            writable(folder)
            refuse_foreign(folder, kind, force=force)
    special = {"version_compatible": version_compatible, "hardware_compatible": hardware_compatible, "dla": dla}
    engines = _engines(tensorrt, target_gpu, max_batch, workspace_mb, **special)
    if engines and is_bundle(run):
        bundle = add_engines(run, out, engines, force=force)
    else:
        config = ExportConfig(
            precisions=precisions,
            recipes=recipes,
            opset=opset,
            dataset=dataset,
            accuracy_drop=accuracy_drop,
            labels=labels,
            text_tower=not no_text_tower,
            bytes_input=bytes_input,
            exif=exif,
            ground=ground,
            engines=engines,
        )
        given: dict[str, Any] = {"profile": profile_name, "calibration": calibration, "threads": threads}
        bundle = export(run, out, config=config, **given, force=force)
        if huggingface:
            write_huggingface(run, huggingface, force=force)
    manifest = bundle.manifest
    tell(f"wrote {bundle.path}; recommended: {manifest.recommended or manifest.recommendation}")
    show(as_json, manifest.as_data(), lambda: tried_table(manifest) if manifest.tried else bundle_table(manifest))


def _engines(
    wanted: bool, target_gpu: str | None, largest_batch: int, workspace_mb: int, **special: Any
) -> EngineConfig | None:
    """``EngineConfig`` from the command line's flags; None where none is asked for.

    Raises:
        EdgeclipError: a flag about engines is there, and --tensorrt is not.
    """
    if not wanted:
        if target_gpu or any(value not in (None, False) for value in special.values()):
            raise EdgeclipError("--target-gpu, --dla and --…-compatible are about engines: add --tensorrt")
        return None
    from ..api.bundle import EngineConfig

    return EngineConfig(target_gpu, largest_batch, workspace_mb, **special)
