"""What becomes of our graphs in TensorRT, and is our int8 as faithful as ModelOpt's?

    python benchmarks/tensorrt_engines.py [RUN ...] [--peer PYTHON]

Towers: the demo's teacher, each RUN's student, and, with random weights, a RepViT and an EfficientViT at 224 px.
- Engines by TensorRT-RTX for cards that are absent (sm86, sm89): seconds to build, MB, MB packed (zlib: of many layers'
  kernels, which are much alike, little is left), products by the type that they compute in. FP8 too, made from int8.
- Fidelity, where weights were trained: cosine to the fp32 graph on the demo's held-out images, which nobody saw before,
  in onnxruntime on this CPU, as the graph is written: fp16, int8 by the plain recipe, int8 as the export tunes it, FP8
  with the plain recipe's ranges, and ModelOpt's int8, from the same calibration images; all leave the rest in fp16.
  ModelOpt cannot be installed beside our pins: it runs in an environment of its own.
No GPU is needed; nothing is timed on one.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import results
import torch
from onnx import numpy_helper

from edgeclip.base.errors import EdgeclipError
from edgeclip.chain.demo.openmoji import write_dataset
from edgeclip.chain.loading import load_teacher
from edgeclip.distillation.run import Run
from edgeclip.exporting.calibration import calibration_pixels
from edgeclip.exporting.engine import layer_types
from edgeclip.exporting.fp16 import convert_fp16
from edgeclip.exporting.int8 import TENSORRT, Calibrated
from edgeclip.exporting.towers import export_image_tower
from edgeclip.exporting.tune import Tuner
from edgeclip.exporting.validate import Gate
from edgeclip.images.sources import find_images
from edgeclip.runtime.cores import usable_cores
from edgeclip.runtime.engines.ort import Onnxruntime
from edgeclip.runtime.engines.tensorrt.build import bound_to, parse, serialise
from edgeclip.runtime.engines.tensorrt.config import EngineConfig
from edgeclip.towers.timmtowers import timm_vision_cfg

PEER = Path(__file__).parent / "peers" / "modelopt_peer.py"
NEEDS = "nvidia-modelopt[onnx]>=0.47,<0.48"
GPUS = ("sm86", "sm89")
RANDOM = {"RepViT-M0.9": "repvit_m0_9", "EfficientViT-B1": "efficientvit_b1"}
CALIBRATE, JUDGE = 128, 64  # images, as in an export
E4M3_MAX, INT8_MAX = 448, 127


def main() -> None:
    """Every tower: graphs, engines, fidelity."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--peer", help="A Python that has ModelOpt.  [default: one is made]")
    args = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_dataset(work / "data")
        models = {"demo teacher": load_teacher("demo")}
        models |= {run.name: Run.open(run).encoder() for run in args.runs}
        python = args.peer or environment()
        for number, (name, model) in enumerate(models.items()):
            place = work / str(number)
            place.mkdir()
            seen, heldout = (pixels_of(model, work / "data" / part) for part in ("train", "heldout"))
            calibrate, judged = np.split(seen, [CALIBRATE])
            export_image_tower(model.model, place / "fp32.onnx", image_size=model.image_size)
            graphs = write_graphs(place, calibrate)
            graphs["int8 tuned"], title = tune(place, calibrate, judged, model.encode_pixels(judged))
            found[name] = {"tuned": title}
            found[name]["fidelity"] = fidelity(graphs, heldout, modelopt(python, place, calibrate))
            found[name]["engines"] = engines(graphs)
            print(name, found[name]["fidelity"], flush=True)
        for name, architecture in RANDOM.items():
            place = work / architecture
            place.mkdir()
            pixels = random_tower(architecture, place / "fp32.onnx")
            found[name] = {"engines": engines(write_graphs(place, pixels))}
    results.save("tensorrt_engines", {"towers": found})


def pixels_of(model: Any, folder: Path) -> np.ndarray:
    """Up to 192 images of a folder, as the export chooses them."""
    return calibration_pixels(find_images(folder), model.preprocess, CALIBRATE + JUDGE)[0]


def random_tower(architecture: str, file: Path) -> np.ndarray:
    """A timm tower at 224 px; its calibration pixels, noise."""
    from open_clip.model import CustomTextCLIP

    torch.manual_seed(0)
    vision = timm_vision_cfg(architecture, 224)
    text = {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 1, "layers": 1}
    export_image_tower(CustomTextCLIP(256, vision, text).eval(), file, image_size=224)
    return np.random.default_rng(0).standard_normal((8, 3, 224, 224)).astype(np.float32)


def write_graphs(folder: Path, pixels: np.ndarray) -> dict[str, Path]:
    """Precision -> graph."""
    graphs = {name: folder / f"{name.replace(' ', '-')}.onnx" for name in ("fp32", "fp16", "int8", "fp8")}
    calibrated = Calibrated(graphs["fp32"], pixels)
    convert_fp16(graphs["fp32"], graphs["fp16"], pixels)
    calibrated.write(graphs["int8"], TENSORRT)
    onnx.save(as_fp8(onnx.load(str(graphs["int8"]))), str(graphs["fp8"]))
    return graphs


def tune(folder: Path, calibrate: np.ndarray, judged: np.ndarray, reference: np.ndarray) -> tuple[Path, str]:
    """The int8 that an export chooses, and what it calls it."""
    (folder / "tuned").mkdir()
    tuner = Tuner(reference, judged, Onnxruntime(), usable_cores(), Gate())
    tuner.enter_int8(Calibrated(folder / "fp32.onnx", calibrate), TENSORRT, folder / "tuned")
    best = tuner.best("int8")
    assert best is not None
    return best.file, best.name


def as_fp8(graph: onnx.ModelProto) -> onnx.ModelProto:
    """A symmetric int8 graph in FP8 (E4M3): the same Q/DQ, their largest value 448 in place of 127."""
    held = {value.name: value for value in graph.graph.initializer}
    changed: set[str] = set()

    def change(name: str, value: np.ndarray) -> None:
        if name not in changed:
            changed.add(name)
            held[name].CopyFrom(numpy_helper.from_array(value, name))

    for node in graph.graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        value, scale, zero = node.input
        before = numpy_helper.to_array(held[scale])
        change(scale, (before * (INT8_MAX / E4M3_MAX)).astype(before.dtype))
        change(zero, np.zeros(tuple(held[zero].dims), ml_dtypes.float8_e4m3fn))
        if value in held:
            weight = numpy_helper.to_array(held[value]).astype(np.float32)
            change(value, (weight * (E4M3_MAX / INT8_MAX)).astype(ml_dtypes.float8_e4m3fn))
    del graph.graph.value_info[:]  # which says int8
    return graph


def engines(graphs: dict[str, Path]) -> dict[str, Any]:
    """For every card and precision: seconds, MB, and the types that products compute in; or why it was refused."""
    rows: dict[str, Any] = {}
    for gpu in GPUS:
        build = EngineConfig(target_gpu=gpu, largest_batch=8)
        for precision, graph in graphs.items():
            start = time.perf_counter()
            try:
                builder, network = parse(graph)
                plan = serialise(builder, network, build, bound_to(build), graph)
            except EdgeclipError as error:
                rows[f"{gpu} {precision}"] = {"refused": str(error)}
                continue
            row: dict[str, Any] = {"seconds": time.perf_counter() - start, "mb": len(plan) / 1e6}
            row["packed_mb"] = len(zlib.compress(plan, 1)) / 1e6
            types = layer_types(network)
            row["products"] = {k: n for k, n in types.items() if k.split()[0] in ("MATRIX_MULTIPLY", "CONVOLUTION")}
            rows[f"{gpu} {precision}"] = row
            print(gpu, precision, {k: round(v, 1) for k, v in row.items() if k != "products"}, flush=True)
    return rows


def fidelity(graphs: dict[str, Path], pixels: np.ndarray, theirs: Path) -> dict[str, Any]:
    """Mean and worst cosine to fp32, every node run as it is written."""
    embeds = {}
    for name, graph in {**graphs, "ModelOpt int8": theirs}.items():
        session = Onnxruntime().open(graph, as_written=True)
        rows = np.concatenate([session.run(pixels[i : i + 16]) for i in range(0, len(pixels), 16)]).astype(np.float64)
        embeds[name] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = {name: (rows * embeds["fp32"]).sum(axis=1) for name, rows in embeds.items() if name != "fp32"}
    found: dict[str, Any] = {n: {"mean": float(c.mean()), "worst": float(c.min())} for n, c in cosines.items()}
    graph = onnx.load(str(theirs)).graph
    found["ModelOpt int8"]["quantised"] = sum(node.op_type == "QuantizeLinear" for node in graph.node)
    return found


def modelopt(python: str, folder: Path, calibrate: np.ndarray) -> Path:
    """ModelOpt's int8 graph of the fp32 one in ``folder``."""
    np.save(folder / "calibration.npy", calibrate)
    done = subprocess.run([python, str(PEER), str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"ModelOpt failed:\n{done.stderr[-3000:]}")
    return folder / "modelopt.onnx"


def environment() -> str:
    """The Python of a virtual environment that holds ModelOpt; made where it is missing."""
    folder = Path(tempfile.gettempdir()) / "edgeclip-modelopt"
    python = folder / "bin" / "python"
    if not python.is_file():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", NEEDS], check=True)
    return str(python)


if __name__ == "__main__":
    main()
