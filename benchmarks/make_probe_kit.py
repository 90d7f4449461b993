"""Make edgeclip/device/kit/kit.zip: students exported as they would be deployed, their weights left out.

    python benchmarks/make_probe_kit.py

Run it when the exporter or the int8 recipe changes: the probe must measure what is exported. Minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import zipfile
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from edgeclip.console import progress_bar, say
from edgeclip.device.probekit import KIT, Graph, Index, Tensor
from edgeclip.export.int8 import ARM, X86, Recipe, quantize_int8
from edgeclip.export.towers import export_image_tower
from edgeclip.student.build import build_model
from edgeclip.student.spec import StudentSpec
from edgeclip.student.workload import vit_workload

# image_size, patch_size, width, layers, mlp_ratio, head_width: spread over compute, tokens, width, depth and heads
TOWERS = [
    (64, 16, 64, 2, 4, 32),
    (64, 16, 128, 4, 4, 64),
    (64, 8, 64, 6, 4, 32),
    (64, 8, 96, 4, 3, 32),
    (64, 32, 512, 4, 4, 64),
    (64, 16, 256, 8, 2, 64),
    (64, 8, 192, 4, 4, 64),
    (64, 8, 128, 12, 4, 32),
    (64, 8, 320, 3, 3, 64),
    (192, 8, 64, 4, 4, 32),
    (96, 16, 384, 4, 4, 64),
    (96, 8, 128, 8, 4, 64),
    (128, 8, 192, 3, 2, 32),
    (160, 16, 256, 6, 4, 64),
    (224, 32, 384, 6, 3, 64),
    (224, 16, 192, 12, 4, 64),
    (224, 16, 384, 4, 4, 64),
    (224, 32, 512, 12, 4, 64),
]
REFERENCE = (64, 8, 192, 4, 4, 64)
EMBED_DIM = 512
SMALLEST = 1024  # elements: what is left out of the graph; scales, norms and biases stay
PAGE = 4096  # onnxruntime maps external data page by page
TEXT_CFG = {"context_length": 8, "vocab_size": 64, "width": 64, "heads": 1, "layers": 1}


def main() -> None:
    """Export, quantise, strip and pack every tower."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=KIT)
    out = parser.parse_args().out
    contents: dict[str, bytes] = {}
    graphs: list[Graph] = []
    with tempfile.TemporaryDirectory() as scratch, progress_bar("probe kit", len(TOWERS)) as bar:
        for tower in TOWERS:
            for graph, content in make(tower, Path(scratch)):
                graphs.append(graph)
                contents[graph.file] = content
            bar.advance()
    versions = {package: metadata.version(package) for package in ("torch", "open_clip_torch", "onnx", "onnxruntime")}
    index = Index(reference=name(REFERENCE), made_with=versions, graphs=graphs)
    contents["index.json"] = json.dumps(index.as_data(), separators=(",", ":")).encode()
    pack(out, contents)
    say(f"wrote {out}: {len(graphs)} graphs, {out.stat().st_size / 1e3:.0f} kB")


def name(tower: tuple[int, ...]) -> str:
    """``vit64-p8-w192-d4-m4-h64``."""
    size, patch, width, layers, ratio, head = tower
    return f"vit{size}-p{patch}-w{width}-d{layers}-m{ratio}-h{head}"


def make(tower: tuple[int, ...], scratch: Path) -> list[tuple[Graph, bytes]]:
    """One tower in fp32 and in int8 for x86 and Arm: index entries and stripped graphs."""
    keys = ("image_size", "patch_size", "width", "layers", "mlp_ratio", "head_width")
    config = dict(zip(keys, tower, strict=True))
    spec = StudentSpec(name=name(tower), vision_cfg=config, workload=vit_workload(config, EMBED_DIM))
    model, _ = build_model(spec, embed_dim=EMBED_DIM, text_cfg=TEXT_CFG)
    fp32 = scratch / f"{spec.name}.fp32.onnx"
    export_image_tower(model.eval(), fp32, image_size=spec.image_size)
    found = [entry(spec, fp32, "fp32", "float32")]
    pixels = np.random.default_rng(0).standard_normal((4, 3, spec.image_size, spec.image_size), dtype=np.float32)
    for recipe in (X86, ARM):
        int8 = scratch / f"{spec.name}.{suffix(recipe)}.onnx"
        quantize_int8(fp32, int8, pixels, recipe)
        found.append(entry(spec, int8, "int8", recipe.activations))
    return found


def suffix(recipe: Recipe) -> str:
    """``u8s8`` or ``s8s8``: kinds of activations and weights."""
    return {"uint8": "u8s8", "int8": "s8s8"}[recipe.activations]


def entry(spec: StudentSpec, path: Path, precision: str, activations: str) -> tuple[Graph, bytes]:
    """Strip the graph at ``path`` of its weights."""
    model = onnx.load(str(path))
    weights = f"{path.stem}.bin"
    tensors = strip(model, weights)
    graph = Graph.model_validate(
        {
            "name": spec.name,
            "file": path.name,
            "weights": weights,
            "precision": precision,
            "activations": activations,
            "image_size": spec.image_size,
            "workload": spec.workload,
            "tensors": tensors,
        }
    )
    return graph, model.SerializeToString()


def strip(model: onnx.ModelProto, location: str) -> list[Tensor]:
    """Declare the matrices of ``model`` as external data at ``location``; make what stays cheap to compress."""
    tensors, end = [], 0
    for value in model.graph.initializer:
        array = numpy_helper.to_array(value)
        if array.ndim >= 2 and array.size >= SMALLEST:
            bare = TensorProto(name=value.name, data_type=value.data_type, dims=value.dims)
            bare.data_location = TensorProto.EXTERNAL
            for key, text in (("location", location), ("offset", str(end)), ("length", str(array.nbytes))):
                bare.external_data.add(key=key, value=text)
            value.CopyFrom(bare)
            tensors.append(Tensor.model_validate({"offset": end, "count": array.size, "dtype": str(array.dtype)}))
            end += -(-array.nbytes // PAGE) * PAGE
        elif array.ndim == 1 and array.size >= 16 and array.dtype.kind == "f":
            value.CopyFrom(numpy_helper.from_array(flat(array), value.name))
        elif array.dtype == np.int32:  # quantised biases
            value.CopyFrom(numpy_helper.from_array(np.zeros_like(array), value.name))
    model.graph.doc_string = model.doc_string = ""
    return tensors


def flat(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same shape and size of number throughout: a scale stays a scale."""
    return np.full_like(array, np.abs(array).mean())


def pack(out: Path, contents: dict[str, bytes]) -> None:
    """Write the archive; the same contents give the same bytes."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for member in sorted(contents):
            info = zipfile.ZipInfo(member, date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, contents[member])


if __name__ == "__main__":
    main()
