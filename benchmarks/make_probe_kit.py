"""Make edgeclip/profiling/kit/kit.zip: students exported as they would be deployed, their weights left out.

    python benchmarks/make_probe_kit.py [--work build/probe-kit] [--keep-fp32]

Run it when the exporter or a recipe changes (with an empty --work): the probe must measure what is exported. Half an
hour on one core; what lies in --work is not exported again. Where recipes changed and the exporter did not,
--keep-fp32 takes the fp32 graphs from the kit that is there, which leaves minutes.
"""

from __future__ import annotations

import argparse
import json
import zipfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from edgeclip.base.console import progress_bar, say
from edgeclip.exporting.fp16 import convert_fp16
from edgeclip.exporting.int8 import ARM, TENSORRT, X86, Recipe, quantize_int8
from edgeclip.exporting.untrained import export_untrained
from edgeclip.profiling.probekit import GRAPHS, INDEX, KIT, Graph, Index, Kit, Tensor
from edgeclip.profiling.schema import Workload
from edgeclip.towers.space import name_of, workload_of
from edgeclip.towers.spec import StudentSpec
from edgeclip.towers.timmtowers import timm_vision_cfg

# image_size, patch_size, width, layers, mlp_ratio, head_width: spread over compute, tokens, width, depth and heads
VITS = (
    (64, 8, 192, 4, 4, 64),
    (64, 16, 64, 2, 4, 32),
    (224, 16, 384, 4, 4, 64),
    (64, 8, 128, 12, 4, 32),
    (32, 16, 768, 3, 3, 64),
    (64, 16, 256, 8, 2, 64),
    (192, 8, 64, 4, 4, 32),
    (64, 8, 96, 4, 3, 32),
    (128, 32, 768, 8, 2, 64),
    (64, 16, 128, 4, 4, 64),
    (224, 32, 384, 6, 3, 64),
    (48, 8, 512, 2, 1, 64),
    (96, 8, 128, 8, 4, 64),
    (32, 8, 224, 10, 1, 32),
    (64, 32, 512, 4, 4, 64),
    (288, 16, 320, 3, 2, 32),
    (64, 8, 64, 6, 4, 32),
    (112, 16, 448, 10, 3, 32),
    (224, 8, 96, 2, 4, 32),
    (96, 16, 384, 4, 4, 64),
    (64, 8, 320, 3, 3, 64),
    (224, 16, 192, 12, 4, 64),
    (128, 8, 192, 3, 2, 32),
    (160, 16, 640, 5, 1, 64),
    (160, 16, 256, 6, 4, 64),
    (224, 32, 512, 12, 4, 64),
    (208, 8, 256, 4, 1, 64),
    (224, 16, 576, 8, 4, 64),
)
TOWERS = (
    ("repvit_m0_9", 64),
    ("fastvit_t8", 96),
    ("mobilenetv4_conv_small", 224),
    ("efficientvit_b0", 96),
    ("efficientvit_m2", 160),
    ("convnext_atto", 96),
    ("tiny_vit_5m_224", 64),
    ("convnextv2_atto", 192),
    ("mobilenetv4_hybrid_medium", 128),
    ("repvit_m1_1", 128),
    ("fastvit_sa12", 128),
    ("efficientvit_m0", 64),
    ("efficientvit_b0", 224),
    ("convnext_femto_ols", 160),
    ("tiny_vit_5m_224", 160),
    ("mobilenetv4_conv_small_035", 64),
    ("mobilenetv4_conv_medium", 128),
    ("repvit_m0_9", 224),
    ("fastvit_mci0", 160),
    ("efficientvit_b1", 160),
    ("efficientvit_m5", 128),
    ("convnext_nano", 64),
    ("convnextv2_femto", 96),
    ("tiny_vit_11m_224", 128),
    ("mobilenetv4_conv_small_050", 160),
    ("mobilenetv4_hybrid_medium_075", 224),
    ("fastvit_t12", 192),
    ("repvit_m2_3", 96),
    ("efficientvit_m4", 224),
    ("efficientvit_b2", 192),
    ("convnext_pico", 128),
    ("convnextv2_nano", 128),
    ("fastvit_mci2", 96),
    ("mobilenetv4_conv_large", 192),
    ("repvit_m1_5", 192),
    ("convnext_nano_ols", 192),
    ("fastvit_sa24", 224),
    ("tiny_vit_21m_224", 192),
)
KEYS = ("image_size", "patch_size", "width", "layers", "mlp_ratio", "head_width")
SMALLEST = 1024  # elements: what is left out of the graph; scales, norms and biases stay
PAGE = 4096  # onnxruntime maps external data page by page
FILLED = ("float32", "float16", "int8", "uint8", "int64")


@dataclass
class Made:
    """A stripped graph, and its index entry but for its place."""

    facts: dict[str, Any]
    content: bytes


def main() -> None:
    """Export, quantise, strip and pack every tower."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=KIT)
    parser.add_argument("--work", type=Path, default=Path("build/probe-kit"))
    parser.add_argument("--keep-fp32", action="store_true")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    if args.keep_fp32:
        keep_fp32(args.work)
    configs = in_turns([vit_cfg(*tower) for tower in VITS], [timm_vision_cfg(*tower) for tower in TOWERS])
    towers: dict[str, Workload] = {}
    graphs: list[Graph] = []
    blob = b""
    with progress_bar("probe kit", len(configs)) as bar:
        for config in configs:
            name = name_of(config)
            bar.note(name)
            towers[name] = workload_of(config)
            for made in make(name, config, towers[name], args.work):
                graphs.append(Graph.model_validate({**made.facts, "offset": len(blob), "length": len(made.content)}))
                blob += made.content
            bar.advance()
    packages = ("torch", "open_clip_torch", "timm", "onnx", "onnxruntime")
    versions = {package: metadata.version(package) for package in packages}
    index = Index(reference=name_of(vit_cfg(*VITS[0])), made_with=versions, towers=towers, graphs=graphs)
    pack(args.out, {INDEX: json.dumps(index.as_data(), separators=(",", ":")).encode(), GRAPHS: blob})
    say(f"wrote {args.out}: {len(graphs)} graphs, {args.out.stat().st_size / 1e3:.0f} kB")


def keep_fp32(work: Path) -> None:
    """Put the kit's own fp32 graphs into ``work``, their weights filled: graphs are all that the kit is about."""
    with Kit() as kit:
        for entry in kit.index.graphs:
            if entry.precision == "fp32":
                unpacked = kit.unpack(entry, work)
                graph = onnx.load(str(unpacked))  # with the weights beside it
                onnx.save(graph, str(unpacked))
                (work / entry.weights).unlink()


def vit_cfg(*numbers: int) -> dict[str, Any]:
    """open_clip's config of a ViT."""
    config = dict(zip(KEYS, numbers, strict=True))
    return {**config, "mlp_ratio": float(config["mlp_ratio"])}


def in_turns(*queues: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The queues merged, each spread evenly over the whole: whoever stops early has measured every family."""
    placed = [((place + 0.5) / len(queue), entry) for queue in queues for place, entry in enumerate(queue)]
    return [entry for _, entry in sorted(placed, key=lambda pair: pair[0])]


def make(name: str, config: dict[str, Any], load: Workload, work: Path) -> list[Made]:
    """One tower in fp32, fp16, and int8 for x86, Arm and TensorRT, stripped."""
    spec = StudentSpec(name=name, vision_cfg=config, workload=load)
    fp32 = work / f"{name}.fp32.onnx"
    if not fp32.is_file():
        export_untrained(spec, fp32)
    found = [strip(name, fp32, spec.image_size, {"precision": "fp32", "recipe": "fp32", "activations": "float32"})]
    fp16 = work / f"{name}.fp16.onnx"
    if not fp16.is_file():
        convert_fp16(fp32, fp16)
    found.append(strip(name, fp16, spec.image_size, {"precision": "fp16", "recipe": "fp16", "activations": "float16"}))
    pixels = np.random.default_rng(0).standard_normal((4, 3, spec.image_size, spec.image_size), dtype=np.float32)
    for recipe in (X86, ARM, TENSORRT):
        int8 = work / f"{name}.{recipe.name}.onnx"
        if not int8.is_file():
            quantize_int8(fp32, int8, pixels, recipe)
        told = f"{recipe.name}: {suffix(recipe)}, " + ("symmetric" if recipe.symmetric else "asymmetric")
        facts = {"precision": "int8", "recipe": told, "activations": recipe.activations}
        found.append(strip(name, int8, spec.image_size, facts))
    return found


def suffix(recipe: Recipe) -> str:
    """``u8s8`` or ``s8s8``: kinds of activations and weights."""
    return {"uint8": "u8s8", "int8": "s8s8"}[recipe.activations]


def strip(name: str, path: Path, image_size: int, facts: dict[str, Any]) -> Made:
    """The graph at ``path`` with its matrices declared as external data; what stays is made cheap to compress."""
    model = onnx.load(str(path))
    weights = f"{path.stem}.bin"
    tensors, end = [], 0
    for value in model.graph.initializer:
        array = numpy_helper.to_array(value)
        if array.ndim >= 2 and array.size >= SMALLEST and str(array.dtype) in FILLED:
            bare = TensorProto(name=value.name, data_type=value.data_type, dims=value.dims)
            bare.data_location = TensorProto.EXTERNAL
            for key, text in (("location", weights), ("offset", str(end)), ("length", str(array.nbytes))):
                bare.external_data.add(key=key, value=text)
            value.CopyFrom(bare)
            tensors.append(Tensor.model_validate({"offset": end, "count": array.size, "dtype": str(array.dtype)}))
            end += -(-array.nbytes // PAGE) * PAGE
        elif array.ndim == 1 and array.size >= 16 and array.dtype.kind == "f":
            value.CopyFrom(numpy_helper.from_array(flat(array), value.name))
        elif array.dtype == np.int32:  # quantised biases
            value.CopyFrom(numpy_helper.from_array(np.zeros_like(array), value.name))
    model.graph.doc_string = model.doc_string = ""
    told = {"name": name, "weights": weights, "image_size": image_size, "tensors": tensors}
    return Made({**told, **facts, "megabytes": path.stat().st_size / 1e6}, model.SerializeToString(deterministic=True))


def flat(array: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same shape and size of number throughout: a scale stays a scale."""
    return np.full_like(array, np.abs(array).mean())


def pack(out: Path, contents: dict[str, bytes]) -> None:
    """Write the archive; the same contents give the same bytes."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(out, "w") as archive:
        for member in sorted(contents):
            info = zipfile.ZipInfo(member, date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_LZMA
            archive.writestr(info, contents[member])


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
