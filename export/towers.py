"""Each tower as one ONNX graph: normalised embeddings out, any batch size in."""

from __future__ import annotations

import ast
import copy
import re
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode

from ..base.errors import EdgeclipError
from ..base.files import mendable
from ..base.interrupts import aside
from . import graphs
from .attention import written_out
from .graphs import IMAGE_INPUT, IMAGE_OUTPUT, TEXT_INPUT, TEXT_OUTPUT, quiet, save_graph

OPSETS = range(18, 24)  # 20 is read by TensorRT 10.3 (JetPack 6) and has native Gelu and LayerNormalization


class ImageTower(nn.Module):
    """Preprocessed pixels float32 ``[N, 3, S, S]`` -> L2-normalised embeddings float32 ``[N, D]``."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.visual: Any = model.visual

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Embed."""
        embeds = self.visual(pixel_values)
        # Where a caption decoder reads the tower too (CoCa), its tokens come second.
        return _normalised(embeds[0] if isinstance(embeds, tuple) else embeds)


class TextTower(nn.Module):
    """Token ids int64 ``[N, L]`` -> L2-normalised embeddings float32 ``[N, D]``."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, input_ids: Tensor) -> Tensor:
        """Embed."""
        return _normalised(self.model.encode_text(input_ids))


def _normalised(embeds: Tensor) -> Tensor:
    """``F.normalize`` without the expansion to full shape that its trace brings."""
    return embeds / embeds.norm(dim=-1, keepdim=True).clamp_min(1e-12)


def export_image_tower(model: nn.Module, path: Path, *, image_size: int, opset: int = 20) -> None:
    """Write the image tower of an open_clip model to ``path``, its weights beside it where they do not fit one file.

    The model itself is left as it is.

    Raises:
        EdgeclipError: the opset is out of range, a weight is not finite, or torch cannot export the tower.
    """
    tower = _deployable(ImageTower(model))
    example = torch.randn(2, 3, image_size, image_size)
    _export(tower, example, path, input_name=IMAGE_INPUT, output_name=IMAGE_OUTPUT, opset=opset)


def export_text_tower(model: nn.Module, path: Path, *, context_length: int, opset: int = 20) -> None:
    """Write the text tower of an open_clip model to ``path``; errors as for :func:`export_image_tower`."""
    tower = _deployable(TextTower(_without_image_tower(model)))
    example = torch.ones(2, context_length, dtype=torch.int64)
    _export(tower, example, path, input_name=TEXT_INPUT, output_name=TEXT_OUTPUT, opset=opset)


def _deployable(tower: nn.Module) -> nn.Module:
    """A copy for inference: fp32, attention written out, reparameterisable branches folded into one convolution."""
    from timm.utils.model import reparameterize_model

    for name, value in tower.state_dict().items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise EdgeclipError(f"weight {name} holds NaN or infinity: the training went wrong before this export")
    copied = copy.deepcopy(tower).float().eval()
    return reparameterize_model(written_out(copied)).eval()


def check_opset(opset: int) -> None:
    """Refuse an opset that our graphs are not made in.

    Raises:
        EdgeclipError: naming those that they are.
    """
    if opset not in OPSETS:
        raise EdgeclipError(f"opset {opset}: choose from {OPSETS.start} to {OPSETS.stop - 1} (20 is a good default)")


def _without_image_tower(model: nn.Module) -> nn.Module:
    light = copy.copy(model)
    light._modules = {name: part for name, part in model._modules.items() if name not in ("visual", "text_decoder")}
    return light


def _export(tower: nn.Module, example: Tensor, path: Path, *, input_name: str, output_name: str, opset: int) -> None:
    check_opset(opset)
    # Two rows, not one: traced with one, open_clip's attention is exported with a batch of one for ever.
    batch = {0: torch.export.Dim("batch", min=1, max=4096)}
    settings: dict[str, Any] = {
        "dynamo": True,
        "opset_version": opset,
        "input_names": [input_name],
        "output_names": [output_name],
        "dynamic_shapes": (batch,),
        "external_data": False,
        "verbose": False,
    }

    inference = torch.is_inference_mode_enabled()  # here: another thread has a mode of its own

    def program_of() -> torch.onnx.ONNXProgram | None:
        with torch.inference_mode(inference):
            return torch.onnx.export(tower, (example,), **settings)

    with quiet():
        _stand_in_for_a_gpu()
        try:
            program = aside(program_of)
        except torch.onnx.errors.OnnxExporterError as error:
            raise EdgeclipError(f"torch cannot export this tower at opset {opset}: {_cause(error)}") from error
    assert program is not None  # it is None only when a file name was given
    graph = _graph_of(program, tower, path)
    for value in (*graph.graph.input, *graph.graph.output):
        if not value.type.tensor_type.shape.dim[0].dim_param:
            raise EdgeclipError(
                f"the exported graph's {value.name} has a fixed batch size: this tower cannot be exported"
            )
    _name_by_module(graph)
    _strip(graph)
    save_graph(graph, path)


def _stand_in_for_a_gpu() -> None:
    """Let torch register, from this thread, what stands for a GPU that is not there while it traces.

    Before torch 2.12 it belongs to the thread that first traces, but serves all: once that thread has ended, any
    backward pass is a segmentation fault (pytorch/pytorch#178950).
    """
    with FakeTensorMode():
        pass


def _cause(error: BaseException) -> str:
    """What the exporter tripped over: the first line of the error at the bottom of its pile."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {(str(error).strip() or 'it says nothing').splitlines()[0]}"


def _graph_of(program: torch.onnx.ONNXProgram, tower: nn.Module, path: Path) -> onnx.ModelProto:
    """The graph; without its weights where these do not fit one file: they lie beside ``path`` then."""
    if sum(value.nbytes for value in tower.state_dict().values()) <= graphs.LARGEST:
        return program.model_proto
    with mendable(path), quiet():
        program.save(str(path), external_data=True)
    return onnx.load(str(path), load_external_data=False)


def _name_by_module(graph: onnx.ModelProto) -> None:
    """Call each node by the module it comes from, ``visual.transformer.resblocks.0.mlp.c_fc/MatMul``.

    Layer reports, and the search for the blocks that int8 hurts, speak of modules.
    """
    taken: dict[str, int] = {}
    for node in graph.graph.node:
        notes = {entry.key: entry.value for entry in node.metadata_props}.get("pkg.torch.onnx.name_scopes", "['']")
        modules = [scope for scope in ast.literal_eval(notes)[:-1] if re.fullmatch(r"[A-Za-z][\w.]*", scope)]
        name = f"{modules[-1] if modules else 'graph'}/{node.op_type}"
        taken[name] = taken.get(name, 0) + 1
        node.name = name if taken[name] == 1 else f"{name}_{taken[name]}"


def _strip(graph: onnx.ModelProto) -> None:
    """Drop what only the exporter needs: stack traces double the size of a small student's file."""
    for node in graph.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*graph.graph.value_info, *graph.graph.input, *graph.graph.output, *graph.graph.initializer):
        if hasattr(value, "metadata_props"):
            del value.metadata_props[:]
    del graph.graph.metadata_props[:]
