"""Before hours of work: what cannot work is named in seconds, and nothing is left behind."""

import numpy as np
import pytest
import torch
from torch import nn

from edgeclip.base.errors import EdgeclipError
from edgeclip.chain.rehearsal import rehearse
from edgeclip.data.training import TrainingData
from edgeclip.distillation.config import DistillConfig
from edgeclip.distillation.pipeline import distill
from edgeclip.distillation.student import build_student
from edgeclip.distillation.teachers import StoredTeacher, as_teacher
from edgeclip.towers.spec import StudentSpec

OWN = DistillConfig(text_tower="student", text_shape={"width": 32, "layers": 1, "heads": 2})
SHORT = {"epochs": 1, "batch_size": 10, "views": 1, "tracker": "none"}


class Colours:
    """A teacher of one's own, for texts that the student cannot borrow a tower for."""

    embed_dim, image_size = 8, 32

    def encode_image(self, images):
        return np.eye(8, dtype=np.float32)[[number % 8 for number, _ in enumerate(images)]]

    def encode_text(self, texts):
        return np.eye(8, dtype=np.float32)[[len(text) % 8 for text in texts]]


@pytest.mark.parametrize("config", [DistillConfig(), OWN], ids=["the teacher's text tower", "one of its own"])
def test_what_works_is_said(config, spec, teacher, capsys):
    rehearse(spec, [as_teacher("tiny", teacher)], config)
    assert "teacher, student, loss and export work together" in capsys.readouterr().err


@pytest.mark.slow
def test_a_student_that_is_no_gain_is_said_before_it_is_trained(teacher, capsys):
    wide = {"image_size": 64, "patch_size": 8, "width": 256, "layers": 6, "head_width": 64}
    rehearse(StudentSpec(name="wide", vision_cfg=wide), [as_teacher("tiny", teacher)], DistillConfig())
    told = capsys.readouterr().err
    assert "caution: the student is larger than its teacher: " in told
    assert "times as slow as its teacher" in told


@pytest.mark.slow
def test_several_teachers_and_one_of_ones_own(spec, teacher):
    rehearse(spec, [as_teacher("colours", Colours()), as_teacher("tiny", teacher)], OWN)


@pytest.mark.slow
def test_a_store_is_rehearsed_without_its_teacher(spec, teacher, images_dir, texts_file, tmp_path):
    store = tmp_path / "store"
    config = DistillConfig(**SHORT)
    distill(
        spec,
        [as_teacher("tiny", teacher)],
        TrainingData(images_dir, texts_file, store=store),
        tmp_path / "run",
        config=config,
    )
    rehearse(spec, [StoredTeacher(store)], config)


class Folded(nn.Module):
    """A tower that torch can train, and cannot export: what it does depends on the numbers."""

    image_size = (32, 32)

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 32))

    def forward(self, pixels):
        means = pixels.mean(dim=(2, 3))
        return (means if means.sum().item() > 0 else -means) @ self.weight


def spec_of(spec, **vision_cfg):
    return StudentSpec(name="odd", vision_cfg={**spec.vision_cfg, **vision_cfg}, workload=spec.workload)


def test_a_spec_that_cannot_be_built(spec, teacher):
    for fault in ({"nonsense": 1}, {"timm_model_name": "no_such_model"}):
        with pytest.raises(EdgeclipError, match="student odd cannot be built: ") as told:
            rehearse(spec_of(spec, **fault), [as_teacher("tiny", teacher)], DistillConfig())
        assert "\n" not in str(told.value)


def test_a_student_that_does_not_fit_its_input(spec, teacher):
    odd = StudentSpec(name="odd", vision_cfg={**spec.vision_cfg, "image_size": 48}, workload=spec.workload)
    odd.vision_cfg["patch_size"] = 100
    with pytest.raises(EdgeclipError, match=r"student odd cannot be (built|trained): "):
        rehearse(odd, [as_teacher("tiny", teacher)], DistillConfig())


def test_a_tower_that_torch_cannot_export(spec, teacher, monkeypatch):
    def built(*arguments):
        model, model_cfg, towers, tokenizer = build_student(*arguments)
        model.visual = towers.visual = Folded()
        return model, model_cfg, towers, tokenizer

    monkeypatch.setattr("edgeclip.distillation.student.build_student", built)
    with pytest.raises(EdgeclipError, match="student tiny cannot be exported: torch cannot export this tower"):
        rehearse(spec, [as_teacher("tiny", teacher)], DistillConfig())


def test_a_teacher_that_fails(spec):
    class Broken(Colours):
        fingerprint = "x"

        def encode_image(self, images):
            raise RuntimeError("CUDA out of memory")

    with pytest.raises(EdgeclipError, match="teacher broken does not work: RuntimeError: CUDA out of memory"):
        rehearse(spec, [as_teacher("broken", Broken())], OWN)


def test_a_run_that_cannot_work_leaves_nothing_behind(spec, teacher, images_dir, texts_file, tmp_path):
    out, odd = tmp_path / "run", spec_of(spec, nonsense=1)
    where = (TrainingData(images_dir, texts_file), out)
    with pytest.raises(EdgeclipError, match="cannot be built"):
        distill(odd, [as_teacher("tiny", teacher)], *where, config=DistillConfig(**SHORT), rehearsal=rehearse)
    assert not (out / "run.json").exists()
    distill(spec, [as_teacher("tiny", teacher)], *where, config=DistillConfig(**SHORT), rehearsal=rehearse)
