"""Which precision pays? Our exports against onnxruntime's own recipe, Optimum's, and OpenVINO's, on this CPU.

    python benchmarks/precision.py RUN [RUN ...] [--heldout FOLDER] [--peer openvino=PYTHON]

Each RUN is a finished distillation, or `conv`: a convolutional student (timm's repvit_m0_9 at 224 px) with random
weights. Its image tower is exported by `edgeclip export`'s own call, and every contender is timed on one image in one
process, in turns: torch eager, our fp32, fp16 and int8, and onnxruntime's `quantize_static` and `quantize_dynamic`
as they are called with no more than a model and images. OpenVINO (fp32, and int8 by NNCF) and Optimum cannot be
installed beside our pins; each runs in an environment of its own (made where `--peer` names none), in turns with our
fp32 and int8 graphs, so that the ratio is of one process there too. Accuracy is the cosine to torch on images that set
no range, and zero-shot top-1 on `--heldout`. Writes results/precision.json and results/precision.svg.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import results
import torch
from onnxruntime import quantization as ortq
from safetensors.numpy import load_file, save_file

from edgeclip.chain.loading import load_teacher
from edgeclip.distillation.run import Run
from edgeclip.exporting.calibration import calibration_pixels
from edgeclip.exporting.graphs import IMAGE_INPUT, quiet
from edgeclip.exporting.inputs import evaluation_set_of
from edgeclip.exporting.pipeline import _split, export
from edgeclip.exporting.plan import ExportPlan
from edgeclip.exporting.validate import EvaluationSet, compare, with_accuracy
from edgeclip.images.sources import find_images
from edgeclip.models.openclip import OpenClipEncoder
from edgeclip.runtime.cores import usable_cores
from edgeclip.runtime.engines.ort import Onnxruntime
from edgeclip.runtime.timing import interleaved

PEERS = Path(__file__).parent / "peers"
NEEDS = {
    "openvino": ["openvino", "nncf", "onnxruntime", "safetensors"],
    "optimum": ["optimum-onnx[onnxruntime]", "safetensors"],
}


def main() -> None:
    """Measure each subject, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--images", type=Path, required=True, help="calibration images")
    parser.add_argument("--heldout", type=Path, help="a labelled dataset for top-1")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
    parser.add_argument("--skip-peers", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    given = dict(pair.split("=", 1) for pair in args.peer)
    pythons = {} if args.skip_peers else {name: given.get(name) or environment(name) for name in NEEDS}
    found = {}
    for run in args.runs:
        name, weights, model = subject(run)
        found[name] = {"weights": weights, **measure(model, args, pythons)}
        show(name, found[name])
    results.save("precision", {"threads": args.threads, "subjects": found})
    plot(found)


def subject(run: str) -> tuple[str, str, OpenClipEncoder]:
    """Name, what its weights are, and the model."""
    if run != "conv":
        opened = Run.open(Path(run))
        return opened.document.spec.name, f"distilled, {opened.document.config.epochs} epochs", opened.encoder()
    import open_clip

    torch.manual_seed(0)
    teacher = load_teacher("demo")
    vision = {"timm_model_name": "repvit_m0_9", "timm_model_pretrained": False, "timm_pool": "avg", "image_size": 224}
    model = open_clip.model.CustomTextCLIP(
        teacher.embed_dim, {**vision, "timm_proj": "linear"}, teacher.config["text_cfg"]
    )
    config = teacher.config | {"vision_cfg": vision}
    encoder = OpenClipEncoder(model, config, teacher.preprocess_cfg | {"size": 224}, teacher.tokenizer)
    model.train()
    with torch.no_grad():  # running statistics that are of something
        model.visual(torch.randn(16, 3, 224, 224))
    model.eval()
    return "repvit_m0_9-224", "random", encoder


def measure(model: OpenClipEncoder, args: argparse.Namespace, pythons: dict[str, str]) -> dict[str, Any]:
    """Every contender's p50, cosine and top-1 on one model."""
    files = find_images(args.images)
    every, _ = calibration_pixels(files, model.preprocess, 192)
    calibration, judged = _split(every)
    exam = evaluation_set_of(model, args.heldout) if args.heldout else None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plan = ExportPlan(precisions=("fp16", "int8"), evaluation_set=exam)
        bundle = export(model, folder / "b", source="-", calibration=files, plan=plan, threads=args.threads)
        runs: dict[str, Any] = {"torch eager": model.encode_pixels}
        for variant in bundle.manifest.variants:
            runs[f"ours {variant.precision}"] = bundle.encoder(variant.precision, threads=args.threads).encode_pixels
        for kind, path in naive(bundle.path / "image.fp32.onnx", folder, calibration).items():
            runs[kind] = Onnxruntime().open(path, threads=args.threads).run
        one = judged[:1]
        times = interleaved({n: (lambda r=r: r(one)) for n, r in runs.items()}, seconds=args.seconds)
        reference = {"judged": model.encode_pixels(judged), "exam": model.encode_pixels(exam.pixels) if exam else None}
        rows = {}
        for kind, run in runs.items():
            embeds = {"judged": batched(run, judged), "exam": batched(run, exam.pixels) if exam else None}
            rows[kind] = {"p50_ms": times[kind].p50, **accuracy(embeds, reference, exam)}
        parts = {"calibration": calibration, "judged": judged, "exam": exam.pixels if exam else judged[:0]}
        for peer, python in pythons.items():
            rows |= against(peer, python, bundle.path, folder / peer, parts, reference, exam, args, rows)
        tried = [one.model_dump() for one in bundle.manifest.tried]
    ours = {"int8 over fp32": rows["ours fp32"]["p50_ms"] / rows["ours int8"]["p50_ms"]}
    ours["int8 over torch eager"] = rows["torch eager"]["p50_ms"] / rows["ours int8"]["p50_ms"]
    return {"ratios": ours, "recommended": bundle.manifest.recommended, "rows": rows, "tried": tried}


def naive(fp32: Path, folder: Path, pixels: np.ndarray) -> dict[str, Path]:
    """onnxruntime's two calls with nothing but their defaults."""

    class Reader(ortq.CalibrationDataReader):
        def __init__(self) -> None:
            self.rows = iter(pixels[:64])

        def get_next(self) -> dict[str, np.ndarray] | None:
            row = next(self.rows, None)
            return None if row is None else {IMAGE_INPUT: row[None]}

    static, dynamic = folder / "naive-static.onnx", folder / "naive-dynamic.onnx"
    with quiet():
        ortq.quantize_static(str(fp32), str(static), Reader())
        ortq.quantize_dynamic(str(fp32), str(dynamic))
    found = {"onnxruntime static, defaults": static}
    # Its dynamic default turns Conv into ConvInteger, which the CPU provider has for uint8 weights alone.
    if not any(node.op_type == "ConvInteger" for node in onnx.load(str(dynamic)).graph.node):
        found["onnxruntime dynamic, defaults"] = dynamic
    return found


def against(
    peer: str,
    python: str,
    bundle: Path,
    folder: Path,
    parts: dict[str, np.ndarray],
    reference: dict[str, Any],
    exam: EvaluationSet | None,
    args: argparse.Namespace,
    rows: dict[str, Any],
) -> dict[str, Any]:
    """A peer's rows. Its milliseconds are scaled by our fp32 graph's, which it measures in the same process."""
    folder.mkdir()
    for precision in ("fp32", "int8"):
        (folder / f"{precision}.onnx").write_bytes((bundle / f"image.{precision}.onnx").read_bytes())
    save_file({name: np.ascontiguousarray(value) for name, value in parts.items()}, folder / "pixels.safetensors")
    command = [python, str(PEERS / f"{peer}_peer.py"), str(folder), str(args.threads), str(args.seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {peer: {"problem": (done.stderr.strip().splitlines() or ["?"])[-1]}}
    times = json.loads(done.stdout.strip().splitlines()[-1])
    embeds = load_file(folder / "embeds.safetensors")
    found = {}
    for name in times:
        if not name.startswith("ours"):
            own = {part: embeds.get(f"{name}.{part}") for part in ("judged", "exam")}
            scaled = times[name] / times["ours fp32"] * rows["ours fp32"]["p50_ms"]
            in_turns = {"raw_ms": times[name], "our_fp32_ms": times["ours fp32"], "our_int8_ms": times["ours int8"]}
            found[name] = {"p50_ms": scaled, "in_turns": in_turns, **accuracy(own, reference, exam)}
    return found


def accuracy(embeds: dict[str, Any], reference: dict[str, Any], exam: EvaluationSet | None) -> dict[str, Any]:
    """Fidelity to torch, as the manifest has it."""
    found = compare(reference["judged"], embeds["judged"])
    if exam is not None:
        found = with_accuracy(found, exam, reference["exam"], embeds["exam"])
    return found.model_dump(exclude_none=True)


def batched(run: Any, pixels: np.ndarray) -> np.ndarray:
    """Embed a few rows at a time."""
    return np.concatenate([run(pixels[i : i + 16]) for i in range(0, len(pixels), 16)])


def environment(peer: str) -> str:
    """The Python of a virtual environment that holds the peer; made where it is missing."""
    folder = Path(tempfile.gettempdir()) / f"edgeclip-{peer}"
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *NEEDS[peer]], check=True)
    return str(python)


def show(name: str, found: dict[str, Any]) -> None:
    """One line a contender."""
    print(f"\n{name} ({found['weights']} weights); recommended: {found['recommended']}")
    fp32 = found["rows"]["ours fp32"]["p50_ms"]
    for kind, row in found["rows"].items():
        if "problem" in row:
            print(f"  {kind:36} {row['problem']}")
            continue
        top1 = f"  top-1 {100 * row['top1']:.2f} ({-row['top1_drop']:+.2f})" if "top1" in row else ""
        speed = f"{row['p50_ms']:7.2f} ms  {fp32 / row['p50_ms']:5.2f}x"
        print(f"  {kind:36} {speed}  cosine {row['cosine_mean']:.6f}{top1}", flush=True)


def plot(found: dict[str, Any]) -> None:
    """Cosine lost over time, both logarithmic: down and to the left is better."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(found), figsize=(6.4 * len(found), 4.6), squeeze=False)
    for axis, (name, one) in zip(axes[0], found.items(), strict=True):
        for kind, row in one["rows"].items():
            if "p50_ms" in row:
                lost = max(1 - row["cosine_mean"], 1e-7)
                axis.plot(row["p50_ms"], lost, "o", color="tab:blue" if kind.startswith("ours") else "tab:gray")
                axis.annotate(kind, (row["p50_ms"], lost), textcoords="offset points", xytext=(5, 4), fontsize=7)
        axis.set(xscale="log", yscale="log", title=f"{name} ({one['weights']})", xlabel="one image, p50, ms")
        axis.set_ylabel("1 - cosine to torch, mean")
    figure.tight_layout()
    figure.savefig(results.FOLDER / "precision.svg")


if __name__ == "__main__":
    main()
