"""How a student begins: at random, from its teacher or from timm; with its teacher's text tower or its own."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from edgeclip.base.errors import EdgeclipError
from edgeclip.distillation.config import DistillConfig
from edgeclip.distillation.student import build_student
from edgeclip.towers.spec import StudentSpec

TIMM = {
    "image_size": 32,
    "timm_model_name": "test_vit",
    "timm_model_pretrained": False,
    "timm_pool": "avg",
    "timm_proj": "linear",
}


@pytest.fixture
def convolutional(spec):
    return StudentSpec(name="timm", vision_cfg=TIMM, workload=spec.workload)


def test_the_teachers_text_tower_stays(spec, tiny, config):
    model, model_cfg, towers, _ = build_student(spec, [tiny], config)
    assert towers.text is None
    assert all(torch.equal(model.state_dict()[name], value) for name, value in tiny.text.weights.items())
    assert model_cfg["embed_dim"] == tiny.embed_dim


def test_a_text_tower_of_its_own_is_half_as_deep_or_as_asked(spec, tiny, config):
    own = config.model_copy(update={"text_tower": "student"})
    _, model_cfg, towers, _ = build_student(spec, [tiny], own)
    assert model_cfg["text_cfg"]["layers"] == 1
    assert towers(torch.zeros(2, 3, 32, 32), torch.zeros(3, 16, dtype=torch.long))[1].shape == (3, 32)
    asked = type(own).model_validate({**own.model_dump(), "text_shape": {"width": 16, "layers": 2, "heads": 1}})
    assert build_student(spec, [tiny], asked)[1]["text_cfg"]["width"] == 16


def test_from_the_teacher(tiny, config, spec):
    same = StudentSpec(
        name="same",
        vision_cfg={"image_size": 32, "patch_size": 16, "width": 64, "layers": 2, "head_width": 32},
        workload=spec.workload,
    )
    _, _, towers, _ = build_student(same, [tiny], config.model_copy(update={"init": "teacher"}))
    theirs = tiny.image_tower.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in towers.visual.state_dict().items())


def test_from_a_file_of_timms_weights(convolutional, spec, tiny, config, tmp_path):
    torch.manual_seed(7)
    donor = timm.create_model("test_vit", img_size=32).state_dict()
    save_file(donor, tmp_path / "w.safetensors")
    settings = config.model_copy(update={"init": str(tmp_path / "w.safetensors")})
    model, *_ = build_student(convolutional, [tiny], settings)
    assert torch.equal(model.visual.trunk.state_dict()["blocks.0.mlp.fc1.weight"], donor["blocks.0.mlp.fc1.weight"])
    with pytest.raises(EdgeclipError, match="not a timm model"):
        build_student(spec, [tiny], settings)
    save_file({"x": torch.zeros(1)}, tmp_path / "w.safetensors")
    with pytest.raises(EdgeclipError, match="only 0 of the student's"):
        build_student(convolutional, [tiny], settings)
    (tmp_path / "w.safetensors").write_bytes(b"pickle")
    with pytest.raises(EdgeclipError, match="not a safetensors file"):
        build_student(convolutional, [tiny], settings)


def test_timms_weights_are_for_timm_models(spec, tiny, config):
    with pytest.raises(EdgeclipError, match="not a timm model"):
        build_student(spec, [tiny], config.model_copy(update={"init": "timm"}))


def test_a_teacher_that_lends_no_text_tower_is_told_with_the_data_before_anything_is_measured():
    from types import SimpleNamespace

    from edgeclip.distillation.pipeline import check_data

    with pytest.raises(EdgeclipError, match=r"mine has no text tower that .* could keep: set text_tower to student"):
        check_data([SimpleNamespace(name="mine", text=None)], None, DistillConfig())
