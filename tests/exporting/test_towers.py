"""From torch to ONNX: the same function, in few nodes, that say where they come from."""

import copy
import subprocess
import sys
from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from edgeclip.base.errors import EdgeclipError
from edgeclip.exporting.attention import PlainAttention, written_out
from edgeclip.exporting.graphs import block_of, weighted
from edgeclip.exporting.towers import _deployable, export_image_tower
from edgeclip.runtime.engines.ort import Onnxruntime


def run(file, pixels):
    return Onnxruntime().open(file).run(pixels)


@pytest.mark.parametrize("tower", ["vit", "conv"])
def test_a_graph_gives_what_torch_gives_at_any_batch(tower, request):
    made = request.getfixturevalue(tower)
    with torch.inference_mode():
        expected = made.model.encode_image(torch.from_numpy(made.pixels), normalize=True).numpy()
    assert expected.std(axis=0).max() > 1e-3, "the images look alike to it: the test could not fail"
    for batch in (1, 2, 5, 24):
        assert np.abs(run(made.file, made.pixels[:batch]) - expected[:batch]).max() < 5e-5


@pytest.mark.parametrize("mask", [None, "rows", "heads"])
def test_attention_written_out_is_attention(mask):
    torch.manual_seed(0)
    own = nn.MultiheadAttention(24, 3, batch_first=True)
    nn.init.normal_(own.in_proj_bias)
    x = torch.randn(4, 7, 24)
    shape = {None: None, "rows": (7, 7), "heads": (12, 7, 7)}[mask]
    attn_mask = torch.randn(shape) if shape else None
    expected, _ = own(x, x, x, need_weights=False, attn_mask=attn_mask)
    found, _ = PlainAttention(own)(x, x, x, need_weights=False, attn_mask=attn_mask)
    assert expected.abs().max() > 0.1
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.slow
def test_training_goes_on_after_an_export(tmp_path):
    """In a process of its own: what may go wrong here is a segmentation fault."""
    code = """
from pathlib import Path
import torch
from edgeclip.exporting.towers import _export
tower = torch.nn.Linear(4, 2)
with torch.inference_mode():
    _export(tower, torch.zeros(2, 4), Path("x.onnx"), input_name="x", output_name="y", opset=20)
tower(torch.ones(1, 4)).sum().backward()
assert tower.weight.grad.tolist() == [[1.0] * 4] * 2
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def test_the_model_itself_is_left_as_it_is(teacher, tmp_path):
    before = copy.deepcopy(teacher.model.state_dict())
    export_image_tower(teacher.model, tmp_path / "x.onnx", image_size=32)
    assert any(isinstance(module, nn.MultiheadAttention) for module in teacher.model.visual.modules())
    after = teacher.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_attention_that_is_no_plain_self_attention_stays(teacher):
    block = copy.deepcopy(teacher.model.visual.transformer.resblocks[0])
    block.attn = nn.MultiheadAttention(64, 2, batch_first=True, add_zero_attn=True)
    assert isinstance(written_out(nn.Sequential(block))[0].attn, nn.MultiheadAttention)


def test_nodes_are_few_and_named_by_their_modules(vit, conv):
    graph = onnx.load(vit.file)
    counts = Counter(node.op_type for node in graph.graph.node)
    assert counts["Transpose"] <= 1 + 4 * 2, counts  # the patches, and four in each of two blocks
    assert counts["Reshape"] <= 1 + 4 * 2, counts
    names = [node.name for node in graph.graph.node]
    assert len(set(names)) == len(names)
    assert "visual.transformer.resblocks.1.mlp.c_fc/MatMul" in names
    blocks = list(dict.fromkeys(block_of(node.name) for node in weighted(graph)))
    assert blocks == ["visual.conv1", *(f"visual.transformer.resblocks.{i}" for i in (0, 1)), "visual"]
    ops = {node.op_type for node in onnx.load(conv.file).graph.node}
    assert "BatchNormalization" not in ops


def test_branches_become_one_convolution_in_a_copy():
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    model = timm.create_model("repvgg_a0", num_classes=0).eval()
    branches = sum(isinstance(module, nn.Conv2d) for module in model.modules())
    x = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        expected, found = model(x), _deployable(model)(x)
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-4)
    deployed = list(_deployable(model).modules())
    assert sum(isinstance(module, nn.Conv2d) for module in deployed) < branches
    assert not any(isinstance(module, nn.BatchNorm2d) for module in deployed)
    assert any(isinstance(module, nn.BatchNorm2d) for module in model.modules())


@pytest.mark.parametrize(
    ("node", "block"),
    [
        ("visual.transformer.resblocks.3.mlp.c_fc/MatMul", "visual.transformer.resblocks.3"),
        ("visual.trunk.stages.0.blocks.1.conv.2/Conv_5", "visual.trunk.stages.0.blocks.1"),
        ("visual.trunk.layer1.0.conv1/Conv", "visual.trunk.layer1.0"),
        ("visual.conv1/Conv", "visual.conv1"),
        ("graph/Div", "graph"),
    ],
)
def test_the_block_of_a_node(node, block):
    assert block_of(node) == block


@pytest.mark.parametrize("opset", [7, 99])
def test_an_opset_out_of_range(teacher, tmp_path, opset):
    with pytest.raises(EdgeclipError, match="choose from 18 to 23"):
        export_image_tower(teacher.model, tmp_path / "x.onnx", image_size=32, opset=opset)


def test_weights_that_are_not_finite(teacher, tmp_path):
    model = copy.deepcopy(teacher.model)
    with torch.no_grad():
        model.visual.proj[0, 0] = float("nan")
    with pytest.raises(EdgeclipError, match="NaN"):
        export_image_tower(model, tmp_path / "x.onnx", image_size=32)
