"""Other forms of the image tower for devices that want less around it: camera bytes in, or class probabilities out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ..runtime.manifest import Preprocess
from .graphs import IMAGE_INPUT, IMAGE_OUTPUT

BYTES_INPUT, CLASSES_OUTPUT = "pixels", "probabilities"


@dataclass(frozen=True)
class Classes:
    """What a classifier graph tells apart. ``embeds``: float32 ``[C, D]``, L2-normalised, one a label."""

    labels: Sequence[str]
    templates: Sequence[str]
    embeds: NDArray[np.float32]


def with_bytes_input(graph: onnx.ModelProto, preprocess: Preprocess) -> onnx.ModelProto:
    """``graph`` fed uint8 ``pixels [N, S, S, 3]``, RGB squares of the tower's own size; it normalises them itself."""
    changed = onnx.ModelProto()
    changed.CopyFrom(graph)
    mean, std = (np.asarray(values, np.float32).reshape(3, 1, 1) for values in (preprocess.mean, preprocess.std))
    for name, value in (("pixels.scale", 1 / (255 * std)), ("pixels.shift", -mean / std)):
        changed.graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), name))
    nodes = [
        helper.make_node("Cast", [BYTES_INPUT], ["pixels.float"], name="pixels/Cast", to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels.float"], ["pixels.chw"], name="pixels/Transpose", perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["pixels.chw", "pixels.scale"], ["pixels.scaled"], name="pixels/Mul"),
        helper.make_node("Add", ["pixels.scaled", "pixels.shift"], [IMAGE_INPUT], name="pixels/Add"),
    ]
    for place, node in enumerate(nodes):
        changed.graph.node.insert(place, node)
    size = preprocess.size
    changed.graph.input[0].CopyFrom(
        helper.make_tensor_value_info(BYTES_INPUT, TensorProto.UINT8, ["batch", size, size, 3])
    )
    onnx.checker.check_model(changed)
    return changed


def with_classes(
    graph: onnx.ModelProto, classes: Classes, logit_scale: float, logit_bias: float | None = None
) -> onnx.ModelProto:
    """``graph`` with float32 ``probabilities [N, C]`` as its output: see :func:`edgeclip.runtime.labels.odds`."""
    changed = onnx.ModelProto()
    changed.CopyFrom(graph)
    weights = np.ascontiguousarray(classes.embeds.T * logit_scale, np.float32)
    changed.graph.initializer.append(numpy_helper.from_array(weights, "classes"))
    nodes = [helper.make_node("MatMul", [IMAGE_OUTPUT, "classes"], ["logits"], name="classes/MatMul")]
    if logit_bias is None:
        nodes.append(helper.make_node("Softmax", ["logits"], [CLASSES_OUTPUT], name="classes/Softmax", axis=-1))
    else:
        changed.graph.initializer.append(numpy_helper.from_array(np.float32(logit_bias), "classes.bias"))
        nodes.append(helper.make_node("Add", ["logits", "classes.bias"], ["logits.biased"], name="classes/Add"))
        nodes.append(helper.make_node("Sigmoid", ["logits.biased"], [CLASSES_OUTPUT], name="classes/Sigmoid"))
    changed.graph.node.extend(nodes)
    changed.graph.output[0].CopyFrom(
        helper.make_tensor_value_info(CLASSES_OUTPUT, TensorProto.FLOAT, ["batch", len(classes.labels)])
    )
    onnx.helper.set_model_props(changed, {"labels": json.dumps(list(classes.labels), ensure_ascii=False)})
    onnx.checker.check_model(changed)
    return changed
