"""ONNX graphs of ours: read with care, saved whole, stamped with what they are, asked for their parts."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from ..base.errors import FormatError
from ..base.files import mendable

IMAGE_INPUT, IMAGE_OUTPUT = "pixel_values", "image_embeds"
TEXT_INPUT, TEXT_OUTPUT = "input_ids", "text_embeds"
PRODUCTS = ("MatMul", "Gemm", "Conv")
LARGEST = 1_900_000_000  # bytes of weights in a graph's own file: protobuf ends at 2 GiB


def weights_beside(path: Path) -> Path:
    """Where the weights of the graph at ``path`` lie, if they do not fit its file."""
    return path.with_name(path.name + ".data")


def read_graph(path: Path) -> onnx.ModelProto:
    """Read an image tower of ours.

    Raises:
        FormatError: the file is damaged, holds an operator that onnx does not know, or is not an image tower of ours.
    """
    try:
        graph = onnx.load(str(path))
        onnx.checker.check_model(graph)
    except (DecodeError, onnx.checker.ValidationError, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise FormatError(f"{path}: no ONNX graph that can be used ({reason}): export it again") from error
    names = [value.name for value in (*graph.graph.input, *graph.graph.output)]
    if names != [IMAGE_INPUT, IMAGE_OUTPUT]:
        listed = ", ".join(names) or "nothing"
        raise FormatError(f"{path}: not an image tower of ours ({IMAGE_INPUT} -> {IMAGE_OUTPUT}); it has {listed}")
    return graph


def save_graph(graph: onnx.ModelProto, path: Path) -> None:
    """Write ``graph``.

    Raises:
        EdgeclipError: no space, or no permission.
    """
    with mendable(path):
        onnx.save_model(graph, str(path))


def stamp(path: Path, facts: dict[str, str]) -> None:
    """Put ``facts`` into the file's own metadata, in place of what tools have left there."""
    graph = onnx.load(str(path), load_external_data=False)
    del graph.metadata_props[:]
    onnx.helper.set_model_props(graph, facts)
    graph.producer_name, graph.producer_version = "edgeclip", facts.get("edgeclip", "")
    save_graph(graph, path)


def constants(graph: onnx.ModelProto) -> set[str]:
    """Names of the values that are known before the graph runs."""
    known = {value.name for value in graph.graph.initializer}
    return known | {node.output[0] for node in graph.graph.node if node.op_type == "Constant"}


def weighted(graph: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The products with constant weights: what int8 speeds up. Attention's own products are none of them."""
    known = constants(graph)
    return [node for node in graph.graph.node if node.op_type in PRODUCTS and node.input[1] in known]


def block_of(node: str) -> str:
    """The block that a node belongs to, by the module in its name.

    ``visual.transformer.resblocks.3.mlp.c_fc/MatMul`` -> ``visual.transformer.resblocks.3``, and
    ``visual.trunk.stages.0.blocks.1.conv/Conv`` -> ``visual.trunk.stages.0.blocks.1``; a module outside of any
    numbered list is a block of its own.
    """
    module = node.partition("/")[0]
    match = re.match(r"[^/]*?\.\d+(?:(?:\.[A-Za-z]\w*)?\.\d+)?(?=\.|$)", module)
    return match[0] if match else module


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """torch's exporter and onnxruntime's quantiser print, log and warn at length; what fails still raises."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
