"""Selection: whole space in, specs that open_clip builds out, budgets kept."""

import numpy as np
import open_clip
import pytest
import torch

from edgeclip.device.costmodel import predict_ms
from edgeclip.device.schema import Budget
from edgeclip.device.store import load_profile
from edgeclip.documents import read_document
from edgeclip.errors import BudgetError, EdgeclipError
from edgeclip.export.attention import written_out
from edgeclip.models.build import build_model, build_tower
from edgeclip.select.front import front, front_svg
from edgeclip.select.select import fitting, select, survey
from edgeclip.towers.operators import count
from edgeclip.towers.space import whole_space, workload_of
from edgeclip.towers.spec import StudentSpec
from edgeclip.towers.timmtowers import FAMILIES, timm_vision_cfg

TEXT = {"context_length": 8, "vocab_size": 50, "width": 32, "heads": 1, "layers": 1}


@pytest.fixture(scope="module")
def profile():
    return load_profile("x86-avx2-2core")


@pytest.fixture(scope="module")
def everyone():
    """A profile that speaks for every family."""
    return load_profile("raspberry-pi-5")


@pytest.mark.parametrize("limit", [3, 20, 60])
def test_what_is_selected_fits_and_is_the_best_first(everyone, limit):
    specs = select(everyone, Budget(latency_ms=limit))
    assert all(spec.predicted_ms < limit for spec in specs)
    assert all(np.isclose(spec.predicted_ms, predict_ms(everyone, spec.workload, spec.precision)) for spec in specs)
    assert [spec.score for spec in specs] == sorted((spec.score for spec in specs), reverse=True)
    assert len({spec.name + spec.precision for spec in specs}) == len(specs)


def test_a_larger_budget_never_buys_less(profile):
    best = [select(profile, Budget(latency_ms=ms), top=1)[0].score for ms in (1, 2, 4, 8, 16)]
    assert best == sorted(best)


def test_no_more_margin_than_needed_where_finalists_are_measured(profile):
    budget = Budget(latency_ms=4)
    bold, careful = (
        sum(fitting(offer, budget).sum() for offer in survey(profile, to_measure=m)) for m in (True, False)
    )
    assert bold > careful


def test_only_families_that_were_measured_are_offered(profile, everyone):
    assert {spec.workload.family for spec in select(profile, Budget(), top=50)} == {"vit"}
    assert len({spec.workload.family for spec in select(everyone, Budget(latency_ms=30), top=50)}) > 3


def test_nothing_fits(profile):
    with pytest.raises(BudgetError, match=r"no student fits 0\.001 ms; the fastest is"):
        select(profile, Budget(latency_ms=0.001))


def test_a_precision_that_was_not_measured(profile):
    with pytest.raises(EdgeclipError, match="does not speak for fp16"):
        select(profile, Budget(), precisions=["fp16"])


def test_input_and_size_are_limited(everyone):
    specs = select(everyone, Budget(size_mb=2), max_image_size=64)
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
    assert spec.workload.params_m == pytest.approx(parameters, rel=0.01)


def test_the_whole_space_is_listed_with_two_precisions():
    space = whole_space(224)
    assert 2 * len(space) > 100_000
    assert set(space.columns.family.tolist()) == {"vit", *FAMILIES}
    assert space.columns.image_size.max() == 224


@pytest.mark.parametrize(
    "config",
    [
        {"image_size": 64, "patch_size": 16, "width": 96, "layers": 2, "mlp_ratio": 3.0, "head_width": 32},
        {"image_size": 80, "patch_size": 8, "width": 64, "layers": 3, "mlp_ratio": 1.0, "head_width": 64},
    ],
)
def test_the_formula_counts_what_the_built_tower_does(config):
    tower = written_out(build_tower(config))
    by_formula, (by_running,) = workload_of(config), count(tower, [config["image_size"]], "vit")
    assert by_formula.params_m == pytest.approx(by_running.params_m)
    assert by_formula.peak_melems == pytest.approx(by_running.peak_melems)
    assert by_formula.kernels.keys() == by_running.kernels.keys()
    for kernel, work in by_running.kernels.items():
        assert by_formula.kernels[kernel].model_dump() == pytest.approx(work.model_dump()), kernel


@pytest.mark.parametrize("name", ["mobilenetv4_conv_small_035", "fastvit_t8", "efficientvit_b0"])
def test_the_table_counts_what_the_built_tower_does(name):
    config = timm_vision_cfg(name, 96)
    listed = workload_of(config)
    (counted,) = count(build_tower(config), [96], listed.family)
    assert listed.gflops == pytest.approx(counted.gflops, rel=1e-4)
    assert {kernel: work.calls for kernel, work in listed.kernels.items()} == {
        kernel: work.calls for kernel, work in counted.kernels.items()
    }


def test_a_tower_that_nobody_counted_is_refused():
    with pytest.raises(EdgeclipError, match="not in the table"):
        workload_of(timm_vision_cfg("resnet18", 96))
    with pytest.raises(EdgeclipError, match="has no price"):
        count(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.Upsample(scale_factor=2)), [8], "odd")


def test_the_front_rises_and_is_drawn(everyone):
    budget = Budget(latency_ms=25)
    offers = survey(everyone, max_image_size=96)
    points = front(offers, budget)
    assert [p.latency_ms for p in points] == sorted(p.latency_ms for p in points)
    assert [p.score for p in points] == sorted(p.score for p in points)
    listed = select(everyone, budget, max_image_size=96, top=3)
    best = max((p for p in points if p.latency_ms <= 25), key=lambda p: p.score)
    assert best.name == listed[0].name
    drawn = front_svg(points, listed, offers, everyone, budget)
    assert drawn.count('class="chosen"') == 1
    assert drawn.count('class="dot"') == len(points)
    assert "estimated" in drawn
    assert "budget 25 ms" in drawn
