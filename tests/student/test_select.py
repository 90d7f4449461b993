"""Selection: whole space in, specs that open_clip builds out, budgets kept."""

import numpy as np
import open_clip
import pytest
import torch

from edgeclip.device.costmodel import predict_ms
from edgeclip.device.schema import Budget
from edgeclip.device.store import load_profile
from edgeclip.errors import BudgetError, EdgeclipError
from edgeclip.files import read_document
from edgeclip.student.build import build_model
from edgeclip.student.select import select
from edgeclip.student.space import vit_space
from edgeclip.student.spec import StudentSpec

TEXT = {"context_length": 8, "vocab_size": 50, "width": 32, "heads": 1, "layers": 1}


@pytest.fixture(scope="module")
def profile():
    return load_profile("x86-avx2-2core")


@pytest.mark.parametrize("limit", [0.8, 3, 20])
def test_what_is_selected_fits_and_is_the_best_first(profile, limit):
    specs = select(profile, Budget(latency_ms=limit))
    assert all(spec.predicted_ms < limit for spec in specs)
    assert all(np.isclose(spec.predicted_ms, predict_ms(profile, spec.workload, spec.precision)) for spec in specs)
    assert [spec.score for spec in specs] == sorted((spec.score for spec in specs), reverse=True)
    assert len({spec.name + spec.precision for spec in specs}) == len(specs)


def test_a_larger_budget_never_buys_less(profile):
    best = [select(profile, Budget(latency_ms=ms), top=1)[0].score for ms in (1, 2, 4, 8, 16)]
    assert best == sorted(best)


def test_nothing_fits(profile):
    with pytest.raises(BudgetError, match=r"no student fits 0\.001 ms; the fastest is"):
        select(profile, Budget(latency_ms=0.001))


def test_a_precision_that_was_not_measured(profile):
    with pytest.raises(EdgeclipError, match="does not speak for fp16"):
        select(profile, Budget(), precisions=["fp16"])


def test_input_and_size_are_limited(profile):
    specs = select(profile, Budget(size_mb=2), max_image_size=64)
    assert all(spec.image_size <= 64 for spec in specs)
    assert all(spec.workload.params_m * {"fp32": 4, "int8": 1}[spec.precision] <= 2 for spec in specs)


def test_a_spec_is_a_stock_open_clip_config(profile, tmp_path):
    spec = select(profile, Budget(latency_ms=2), max_image_size=64, top=1)[0]
    spec.save(tmp_path / "spec.json")
    assert read_document(tmp_path / "spec.json", StudentSpec) == spec
    model, config = build_model(spec, embed_dim=512, text_cfg=TEXT, custom_text=True)
    assert isinstance(model, open_clip.model.CustomTextCLIP)
    pixels = torch.zeros(1, 3, spec.image_size, spec.image_size)
    assert model.eval().encode_image(pixels).shape == (1, 512)
    assert config["vision_cfg"] == spec.vision_cfg
    parameters = sum(p.numel() for p in model.visual.parameters()) / 1e6
    assert spec.workload.params_m == pytest.approx(parameters, rel=0.1)


def test_the_whole_space_is_listed():
    space = vit_space(224)
    assert len(space) > 10_000
    assert space.image_size.max() == 224
