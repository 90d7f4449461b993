import copy

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from edgeclip.errors import EdgeclipError
from edgeclip.export import export
from edgeclip.export.calibration import calibration_pixels
from edgeclip.export.fp16 import nodes_out_of_range
from edgeclip.export.int8 import ARM, X86, X86_VNNI, recipe_for
from edgeclip.export.towers import export_image_tower
from edgeclip.export.validate import compare
from edgeclip.student.openclip import OpenClipEncoder


def test_every_precision_is_faithful(bundle):
    fidelity = {v.precision: v.fidelity for v in bundle.manifest.variants}
    assert fidelity["fp32"].cosine_mean >= 0.99999
    assert fidelity["fp16"].cosine_mean >= 0.999
    assert fidelity["int8"].cosine_mean >= 0.98
    assert bundle.manifest.recommended in fidelity


def test_int8_holds_int8_weights_and_float_attention(bundle):
    graph = onnx.load(bundle.path / "image.int8.onnx")
    assert any(v.data_type == onnx.TensorProto.INT8 and len(v.dims) == 2 for v in graph.graph.initializer)
    constants = {v.name for v in graph.graph.initializer}
    made_by = {name: node for node in graph.graph.node for name in node.output}
    computed = [n for n in graph.graph.node if n.op_type == "MatMul" and n.input[1] not in constants]
    attention = [n for n in computed if made_by[n.input[1]].op_type != "DequantizeLinear"]
    assert len(attention) == 4  # two products in each of two blocks


def test_an_image_tower_takes_any_batch(bundle):
    encoder = bundle.encoder("fp32")
    pixels = np.random.default_rng(0).standard_normal((7, 3, 32, 32), dtype=np.float32)
    together = encoder.encode_pixels(pixels)
    assert np.allclose(
        together, np.concatenate([encoder.encode_pixels(pixels[i : i + 1]) for i in range(7)]), atol=1e-5
    )


def test_a_bundle_cannot_be_written_over(bundle):
    assert all(not file.stat().st_mode & 0o222 for file in bundle.path.iterdir())


def test_the_output_must_be_free(teacher, images_dir, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis").touch()
    with pytest.raises(EdgeclipError, match="not empty"):
        export(teacher, tmp_path / "mine", name="x", source="x", calibration=sorted(images_dir.iterdir()))
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis"]


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


def test_too_few_calibration_images(teacher, images_dir, tmp_path):
    some = sorted(images_dir.iterdir())
    with pytest.raises(EdgeclipError, match="at least 8"):
        calibration_pixels(some[:1], teacher.preprocess)
    (tmp_path / "broken.png").write_bytes(b"no image")
    pixels, chosen = calibration_pixels([*some[:9], tmp_path / "broken.png"], teacher.preprocess)
    assert len(pixels) == chosen["images"] == 9


def test_the_choice_of_calibration_images_is_fixed(teacher, images_dir):
    files = sorted(images_dir.iterdir())
    first, again = (calibration_pixels(order, teacher.preprocess, count=10) for order in (files, files[::-1]))
    assert first[1] == again[1]
    assert (first[0] == again[0]).all()


def test_the_recipe_follows_the_instruction_set():
    assert recipe_for(["avx2"]) is X86
    assert recipe_for(["avx512f", "avx512_vnni"]) is X86_VNNI
    assert recipe_for(["asimd", "asimddp"]) is ARM


def test_weights_beyond_half_precision_stay_float():
    value = onnx.numpy_helper.from_array(np.float32([1e6]), "large")
    node = onnx.helper.make_node("Mul", ["x", "large"], ["y"], name="scale")
    assert nodes_out_of_range(onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], [], [value]))) == ["scale"]


def test_nan_never_looks_faithful():
    good = np.float32([[1, 0], [0, 1]])
    assert compare(good, good).cosine_worst == 1
    assert compare(good, np.full_like(good, np.nan)).cosine_mean == -1


def test_any_open_clip_folder_loads_and_pickles_do_not(teacher_dir, tmp_path):
    encoder = OpenClipEncoder.load(f"local-dir:{teacher_dir}")
    assert encoder.encode_image([Image.new("L", (9, 9))]).shape == (1, 32)
    (tmp_path / "open_clip_config.json").write_bytes((teacher_dir / "open_clip_config.json").read_bytes())
    (tmp_path / "open_clip_pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(EdgeclipError, match="can run code"):
        OpenClipEncoder.load(f"local-dir:{tmp_path}")
    with pytest.raises(EdgeclipError, match="did you mean ViT-B-32"):
        OpenClipEncoder.load("ViT-B-23:openai")
    with pytest.raises(EdgeclipError, match="did you mean openai"):
        OpenClipEncoder.load("ViT-B-32:opanai")
