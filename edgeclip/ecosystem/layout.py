"""A bundle as transformers.js and Optimum look for it: ``config.json``, ``onnx/model_quantized.onnx`` and so on.

They know a precision by the end of a file's name and a tower by its beginning. Besides the two towers there is one
graph of both, ``model``, which the zero-shot pipelines of both open: token ids and pixels in, ``logits_per_image`` out.
Their tokenizers pad to the longest text; the graphs here pad on to the context length that the tower was traced with.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.errors import EdgeclipError, require
from ..base.files import write_bytes, write_json
from ..runtime.bundle import Bundle

if TYPE_CHECKING:
    import onnx

    from ..runtime.manifest import Manifest, Tokenizer

SUFFIXES = {"fp32": "", "fp16": "_fp16", "int8": "_quantized"}  # transformers.js 4, src/utils/dtypes.js
DTYPES = {"fp32": "fp32", "fp16": "fp16", "int8": "q8"}  # the names it gives those
RESAMPLING = {"bilinear": 2, "bicubic": 3}  # Pillow's numbers, which both tools use
PIXELS, IDS = "pixel_values", "input_ids"
IMAGE, TEXT = "image_embeds", "text_embeds"


def write_layout(bundle: Bundle, folder: Path) -> None:
    """Write the bundle's towers, tokenizer and preprocessing into ``folder`` under the names that those tools expect.

    Raises:
        MissingExtra: onnx is not installed.
        EdgeclipError: the preprocessing is one that they have no words for.
    """
    onnx = require("onnx", "distill")
    manifest = bundle.manifest
    if not (manifest.text and manifest.tokenizer):
        raise EdgeclipError(f"{bundle.path}: it has no text tower, which these tools want: export it with one")
    if any(artefact.weights for artefact in (*manifest.variants, manifest.text)):
        raise EdgeclipError(f"{bundle.path}: a tower of over 2 GB has no place in this layout")
    write_json(folder / "config.json", _config(manifest))
    write_json(folder / "preprocessor_config.json", _preprocessor(manifest))
    rules = _straight_quotes(json.loads((bundle.path / manifest.tokenizer.file).read_text(encoding="utf-8")))
    write_json(folder / "tokenizer.json", rules)
    write_json(folder / "tokenizer_config.json", _tokenizer(manifest.tokenizer, rules))
    text = onnx.load(str(bundle.path / manifest.text.file))
    _pad_inside(text, manifest.tokenizer.context_length, manifest.tokenizer.pad_id)
    write_bytes(folder / "onnx/text_model.onnx", text.SerializeToString())
    for variant in manifest.variants:
        suffix = SUFFIXES[variant.precision]
        shutil.copyfile(bundle.path / variant.file, folder / f"onnx/vision_model{suffix}.onnx")
        both = _together(onnx.load(str(bundle.path / variant.file)), text, manifest.logit_scale)
        write_bytes(folder / f"onnx/model{suffix}.onnx", both.SerializeToString())


def _straight_quotes(rules: dict[str, Any]) -> dict[str, Any]:
    """The tokenizer's rules, with curly quotes made straight first: what of our cleaning is not in them already."""
    straight = [
        {"type": "Replace", "pattern": {"Regex": curly}, "content": plain}
        for curly, plain in (("[\u02bc\u2018-\u201b]", "'"), ("[\u201c-\u201f]", '"'))  # ftfy's uncurl_quotes
    ]
    steps = [rules["normalizer"]] if rules.get("normalizer") else []
    return {**rules, "normalizer": {"type": "Sequence", "normalizers": [*straight, *steps]}}


def _config(manifest: Manifest) -> dict[str, Any]:
    """What the tools read of a CLIP model's configuration, and which file to open where nobody says."""
    size, dim = manifest.preprocess.size, manifest.embed_dim
    length = manifest.tokenizer.context_length if manifest.tokenizer else 0
    dtype = DTYPES[manifest.chosen]
    return {
        "model_type": "clip",
        "architectures": ["CLIPModel"],
        "projection_dim": dim,
        "logit_scale_init_value": math.log(manifest.logit_scale),
        "vision_config": {"model_type": "clip_vision_model", "image_size": size, "projection_dim": dim},
        "text_config": {"model_type": "clip_text_model", "max_position_embeddings": length, "projection_dim": dim},
        "transformers.js_config": {"dtype": {"model": dtype, "vision_model": dtype, "text_model": "fp32"}},
    }


def _preprocessor(manifest: Manifest) -> dict[str, Any]:
    preprocess = manifest.preprocess
    if preprocess.resize_mode == "longest":
        raise EdgeclipError(f"{manifest.name}: images padded to a square cannot be put in these tools' words")
    square = {"height": preprocess.size, "width": preprocess.size}
    shortest = preprocess.resize_mode == "shortest"
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": preprocess.size} if shortest else square,
        "resample": RESAMPLING[preprocess.interpolation],
        "do_center_crop": shortest,
        "crop_size": square,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preprocess.mean),
        "image_std": list(preprocess.std),
    }


def _tokenizer(tokenizer: Tokenizer, rules: dict[str, Any]) -> dict[str, Any]:
    """Padding is by the end-of-text token: after the first of those nothing counts, and the graph pads on itself."""
    special = [token["content"] for token in sorted(rules["added_tokens"], key=lambda token: token["id"])]
    facts = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": tokenizer.context_length}
    return facts | ({"bos_token": special[0], "eos_token": special[-1], "pad_token": special[-1]} if special else {})


def _pad_inside(model: onnx.ModelProto, length: int, pad: int) -> None:
    """Make the text tower take ids of any number up to ``length``: it pads them itself."""
    from onnx import TensorProto, helper

    graph = model.graph
    fixed = f"{IDS}_padded"
    for node in graph.node:
        node.input[:] = [fixed if name == IDS else name for name in node.input]
    for name, values in {"length": [length], "pad": [pad], "second": [1], "zeros": [0, 0, 0]}.items():
        shape = [] if name == "pad" else [len(values)]
        graph.initializer.append(helper.make_tensor(f"{fixed}_{name}", TensorProto.INT64, shape, values))
    nodes = [
        helper.make_node("Shape", [IDS], [f"{fixed}_shape"]),
        helper.make_node("Gather", [f"{fixed}_shape", f"{fixed}_second"], [f"{fixed}_there"]),
        helper.make_node("Sub", [f"{fixed}_length", f"{fixed}_there"], [f"{fixed}_lacking"]),
        helper.make_node("Concat", [f"{fixed}_zeros", f"{fixed}_lacking"], [f"{fixed}_pads"], axis=0),
        helper.make_node("Pad", [IDS, f"{fixed}_pads", f"{fixed}_pad"], [fixed]),
    ]
    old = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *old])
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info(IDS, TensorProto.INT64, ["text_batch", "sequence"]))


def _together(image: onnx.ModelProto, text: onnx.ModelProto, logit_scale: float) -> onnx.ModelProto:
    """One graph of both towers, with the logits of every image and text."""
    from onnx import TensorProto, compose, helper

    kept = {"rename_inputs": False, "rename_outputs": False}
    parts = [compose.add_prefix(image, "vision/", **kept), compose.add_prefix(text, "text/", **kept)]
    graph = helper.make_graph([], "clip", [], [])
    for part in parts:
        graph.node.extend(part.graph.node)
        graph.initializer.extend(part.graph.initializer)
        graph.input.extend(part.graph.input)
    graph.initializer.append(helper.make_tensor("logit_scale", TensorProto.FLOAT, [], [logit_scale]))
    graph.node.extend(
        [
            helper.make_node("Transpose", [TEXT], ["texts_down"], perm=[1, 0]),
            helper.make_node("MatMul", [IMAGE, "texts_down"], ["cosines"]),
            helper.make_node("Mul", ["cosines", "logit_scale"], ["logits_per_image"]),
            helper.make_node("Transpose", ["logits_per_image"], ["logits_per_text"], perm=[1, 0]),
        ]
    )
    rows = {"logits_per_image": ["image_batch", "text_batch"], "logits_per_text": ["text_batch", "image_batch"]}
    rows |= {TEXT: ["text_batch", "dim"], IMAGE: ["image_batch", "dim"]}
    for name, shape in rows.items():
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    opsets = {opset.domain: opset for part in parts for opset in part.opset_import}
    model = helper.make_model(graph, opset_imports=list(opsets.values()), ir_version=image.ir_version)
    model.functions.extend(function for part in parts for function in part.functions)
    return model
