"""Make it deployable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..options import JSON, PATH, THREADS, tell


@click.command()
@click.argument("run", type=str)
@click.option("--out", type=PATH, required=True, help="The bundle's folder.")
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(["fp32", "fp16", "int8", "auto"]),
    default=("auto",),
    show_default=True,
    help="auto: all, and the fastest faithful one is recommended.",
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    type=click.Choice(["x86", "x86-vnni", "arm", "tensorrt"]),
    help="int8 for what; several lie side by side.  [default: this machine]",
)
@click.option("--calibration", type=PATH, help="Folder of images for calibration.  [default: the run's own]")
@click.option("--dataset", type=PATH, help="Judge precisions by their answers on this folder with one folder a class.")
@click.option(
    "--accuracy-drop",
    type=click.FloatRange(min=0),
    default=1.0,
    show_default=True,
    help="Points of top-1 that a precision may lose on --dataset.",
)
@click.option("--labels", type=PATH, help="Also write a graph that classifies: image in, probability a line out.")
@click.option("--uint8", "bytes_input", is_flag=True, help="Also write a graph fed uint8 RGB squares, NHWC.")
@click.option("--huggingface", type=PATH, help="Also write a ViT in Hugging Face's CLIP layout, to this folder.")
@click.option("--tensorrt", is_flag=True, help="Also build TensorRT engines. RUN may be a bundle: no torch is needed.")
@click.option("--target-gpu", metavar="SM", help="sm86, sm89, …: build for a GPU that is not here (TensorRT-RTX).")
@click.option("--max-batch", type=click.IntRange(1, 4096), default=32, show_default=True, help="Largest for engines.")
@click.option("--workspace-mb", type=click.IntRange(1), default=1024, show_default=True, help="GPU memory for engines.")
@click.option("--version-compatible", is_flag=True, help="Engines for later TensorRT of this major version too.")
@click.option("--hardware-compatible", is_flag=True, help="Engines for other GPUs from Ampere on too.")
@click.option("--opset", type=int, default=20, show_default=True, help="ONNX opset.")
@THREADS
@JSON
def export(
    run: str,
    out: Path,
    precisions: tuple[str, ...],
    calibration: Path | None,
    opset: int,
    threads: int | None,
    as_json: bool,
    tensorrt: bool,
    target_gpu: str | None,
    max_batch: int,
    workspace_mb: int,
    version_compatible: bool,
    hardware_compatible: bool,
    **options: Any,
) -> None:
    """Export a run (or any open_clip model) to a bundle: ONNX in each precision, validated against torch.

    Example:  edgeclip export runs/pi --out bundles/pi
    """
    from ..steps.export import Options, build_for, engine_options
    from ..steps.export import export as make_bundle
    from ..tables import bundle_table, show, tried_table

    compatible = {"version_compatible": version_compatible, "hardware_compatible": hardware_compatible}
    engines = engine_options(tensorrt, target_gpu, max_batch, workspace_mb, **compatible)
    if engines and (Path(run) / "bundle.json").is_file():
        bundle = build_for(Path(run), out, engines)
    else:
        asked = Options(**options, engines=engines)
        bundle = make_bundle(
            run, out, precisions=precisions, calibration=calibration, opset=opset, threads=threads, options=asked
        )
    manifest = bundle.manifest
    tell(f"wrote {bundle.path}; recommended: {manifest.recommended}")
    show(as_json, manifest.as_data(), lambda: tried_table(manifest) if manifest.tried else bundle_table(manifest))
