"""Selection: whole space in, specs that open_clip builds out, budgets kept."""

import re

import numpy as np
import open_clip
import pytest
import torch

from edgeclip.base.documents import read_document
from edgeclip.base.errors import BudgetError, EdgeclipError
from edgeclip.exporting.attention import written_out
from edgeclip.models.build import build_model, build_tower
from edgeclip.profiling.costmodel import predict_ms, tail
from edgeclip.profiling.schema import Budget
from edgeclip.profiling.store import load_profile
from edgeclip.selection.front import front, front_svg
from edgeclip.selection.headroom import unused_latency
from edgeclip.selection.select import DIFFERENT, _rounded_up, fitting, for_profile, select, survey
from edgeclip.towers.operators import count
from edgeclip.towers.prior import score
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
    models = {p: model.model_copy(update={"families": ["vit"]}) for p, model in profile.cost_model.items()}
    only = profile.model_copy(update={"cost_model": models})
    assert {spec.workload.family for spec in select(only, Budget(), top=50)} == {"vit"}
    assert len({spec.workload.family for spec in select(everyone, Budget(latency_ms=30), top=50)}) > 3


def test_nothing_fits(profile):
    with pytest.raises(BudgetError, match=r"no student fits 0\.001 ms; the fastest is"):
        select(profile, Budget(latency_ms=0.001))


@pytest.mark.parametrize(
    ("budget", "image_size", "told"),
    [
        (Budget(latency_ms=900), 32, "of what is offered up to 32 px, none is expected to be more accurate"),
        (Budget(latency_ms=900, size_mb=2), 224, "the limit of 2 MB in the file keeps more accurate ones out"),
        (Budget(latency_ms=900, memory_mb=80), 224, "the limit of 80 MB of memory keeps more accurate ones out"),
        (Budget(latency_ms=4), 224, None),
        (Budget(size_mb=2), 224, None),
    ],
)
def test_a_budget_that_is_left_unused_is_explained(profile, capsys, budget, image_size, told):
    chosen = select(profile, budget, max_image_size=image_size, top=1)[0]
    said = " ".join(capsys.readouterr().err.split())
    if told is None:
        assert " of the " not in said
    else:
        p90 = chosen.predicted_ms * tail(profile, chosen.precision)
        assert f"{chosen.name} takes {p90:.3g} of the 900 ms: {told}" in said


def test_a_finalist_that_is_faster_than_predicted_leaves_some_unused(profile):
    budget = Budget(latency_ms=4)
    fast = select(profile, budget, top=1)[0].model_copy(update={"measured_ms": 0.5})
    better = [fast.model_copy(update={"score": fast.score + 1})]

    def propose(aim):
        return better if aim.latency_ms is None else [fast]

    told = unused_latency(fast, profile, budget, 224, propose)
    assert told.endswith("whatever is expected to be more accurate is predicted to be too slow")


def test_a_precision_that_was_not_measured(profile):
    with pytest.raises(EdgeclipError, match="has no data for fp16"):
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
    candidates = survey(everyone, max_image_size=96)
    points = front(candidates, budget)
    assert [p.latency_ms for p in points] == sorted(p.latency_ms for p in points)
    assert [p.score for p in points] == sorted(p.score for p in points)
    listed = select(everyone, budget, max_image_size=96, top=3)
    best = max((p for p in points if p.latency_ms <= 25), key=lambda p: p.score)
    assert best.name == listed[0].name
    drawn = front_svg(points, listed, candidates, everyone, budget)
    assert drawn.count('class="chosen"') == 1
    assert drawn.count('class="dot"') == len(points)
    assert "estimated" in drawn
    assert "budget 25 ms" in drawn


@pytest.fixture
def small(everyone):
    """What there is at 32 px, in both precisions."""
    return survey(everyone, max_image_size=32)


def test_what_is_held_against_a_budget_is_the_p90_with_the_models_error(profile):
    model = profile.cost_model["int8"]
    (bold,) = survey(profile, max_image_size=32, precisions=["int8"], to_measure=True)
    (careful,) = survey(profile, max_image_size=32, precisions=["int8"])
    assert bold.margin == tail(profile, "int8") > 1
    assert careful.margin == pytest.approx(tail(profile, "int8") * (1 + model.held_out_p90))
    assert np.allclose(careful.p90_ms, careful.p50_ms * careful.margin)
    row = int(np.flatnonzero(np.isfinite(careful.p50_ms))[0])
    assert careful.p50_ms[row] == pytest.approx(predict_ms(profile, careful.space.workload(row), "int8"))


@pytest.mark.parametrize("name", ["latency_ms", "size_mb", "memory_mb"])
def test_each_limit_is_kept_to_the_letter(name, small):
    offer = small[0]
    limit = float(np.median(offer.costs[name]))
    fits = fitting(offer, Budget(**{name: limit}))
    assert np.array_equal(fits, offer.costs[name] <= limit)
    assert fits.any() and not fits.all()
    assert fitting(offer, Budget(accuracy_drop=1)).all(), "no accuracy is known yet"
    at = float(offer.costs[name][7])
    assert fitting(offer, Budget(**{name: at}))[7], "what is just met is met"


def test_size_and_memory_are_of_the_precision(small, everyone):
    fp32, int8 = small
    assert (int8.size_mb < fp32.size_mb).all()
    base = everyone.base_memory_mb or 90.0
    expected = base + 2 * fp32.size_mb + 3 * 4 * fp32.space.columns.peak_melems
    assert np.allclose(fp32.memory_mb, expected)
    weights = fp32.space.columns.params_m
    assert (fp32.size_mb >= 4 * weights).all() and (fp32.size_mb < 4 * weights + 0.5).all()
    assert (int8.size_mb >= weights).all()


def test_all_limits_together_decide(small):
    offer = small[0]
    budget = Budget(latency_ms=float(np.median(offer.p90_ms)), size_mb=float(np.median(offer.size_mb)))
    both = fitting(offer, Budget(latency_ms=budget.latency_ms)) & fitting(offer, Budget(size_mb=budget.size_mb))
    assert np.array_equal(fitting(offer, budget), both)


@pytest.mark.parametrize(
    ("budget", "told"),
    [
        (Budget(size_mb=0.001), r"no student fits 0\.001 MB; the smallest is"),
        (Budget(memory_mb=1), r"no student fits 1 MB of memory; the leanest is"),
        (Budget(latency_ms=1e-3, size_mb=0.001), r"no student fits 0\.001 ms; the fastest is"),
    ],
)
def test_what_cannot_be_met_names_the_nearest_that_can(budget, told, everyone):
    with pytest.raises(BudgetError, match=told) as caught:
        select(everyone, budget, max_image_size=32)
    needs, unit = str(caught.value).split(" is ")[1].split()[:2]
    name = {"ms": "latency_ms", "MB": "size_mb" if "smallest" in told else "memory_mb"}[unit]
    assert select(everyone, Budget(**{name: float(needs)}), max_image_size=32)
    nearest = min(survey(everyone, max_image_size=32), key=lambda offer: offer.costs[name].min())
    assert f"({nearest.space.name(nearest.costs[name].argmin())}, {nearest.precision})" in str(caught.value)
    with pytest.raises(BudgetError):
        select(everyone, Budget(**{name: 0.98 * float(needs)}), max_image_size=32)


def test_a_spec_says_for_whom_and_by_whom_it_was_chosen(everyone):
    budget = Budget(latency_ms=9, size_mb=50)
    for spec in select(everyone, budget, max_image_size=64, top=3):
        assert spec.target == everyone.target
        assert spec.target.profile == "raspberry-pi-5"
        assert spec.budget == budget
        (offer,) = survey(everyone, max_image_size=64, precisions=[spec.precision])
        row = [offer.space.name(i) for i in np.flatnonzero(offer.score == spec.score)].index(spec.name)
        row = int(np.flatnonzero(offer.score == spec.score)[row])
        assert spec.predicted_ms == offer.p50_ms[row]
        assert spec.predicted_size_mb == offer.size_mb[row]
        assert spec.predicted_memory_mb == offer.memory_mb[row]


def test_what_is_listed_differs(everyone):
    found = select(everyone, Budget(latency_ms=15), max_image_size=64, top=30)
    for place, one in enumerate(found):
        for other in found[:place]:
            alike = (one.precision, one.image_size, one.workload.family)
            if alike == (other.precision, other.image_size, other.workload.family):
                loads = [(s.workload.gflops, s.workload.params_m) for s in (one, other)]
                assert np.abs(np.log2(loads[0]) - np.log2(loads[1])).sum() >= DIFFERENT - 1e-9
    assert len(select(everyone, Budget(latency_ms=15), max_image_size=64, top=4)) == 4


def test_the_first_is_the_best_of_all_that_fit_and_the_fastest_of_equals(everyone):
    budget = Budget(latency_ms=15)
    candidates = survey(everyone, max_image_size=64)
    first = select(everyone, budget, max_image_size=64, top=1)[0]
    best = max(float(offer.score[fitting(offer, budget)].max()) for offer in candidates if fitting(offer, budget).any())
    assert first.score == best
    equals = [float(o.p50_ms[(o.score == best) & fitting(o, budget)].min(initial=np.inf)) for o in candidates]
    assert first.predicted_ms == min(equals)


def test_precisions_are_asked_for_once_each(everyone):
    assert [offer.precision for offer in survey(everyone, max_image_size=32, precisions=["int8", "int8"])] == ["int8"]
    with pytest.raises(EdgeclipError, match=r"has no data for fp16, only for fp32 and int8"):
        survey(everyone, precisions=["fp32", "fp16"])


def test_what_lessens_the_worth_of_a_prediction_is_said(everyone, profile, capsys):
    select(everyone, Budget(), max_image_size=32, top=1)
    assert (
        "profile raspberry-pi-5 is estimated; to measure it, run on the device: edgeclip profile"
        in capsys.readouterr().err
    )
    select(profile.model_copy(update={"flags": ["noisy", "busy"]}), Budget(), max_image_size=32, top=1)
    assert "is noisy, busy: its notes say why" in capsys.readouterr().err
    select(profile.model_copy(update={"flags": []}), Budget(), max_image_size=32, top=1)
    assert capsys.readouterr().err == ""


def test_beyond_what_was_measured_in_that_precision(profile):
    rows = [row for row in profile.latency if row.precision == "fp32"]
    limits = max(row.gflops for row in rows), max(row.params_m for row in rows)
    small = profile.model_copy(update={"latency": [r for r in profile.latency if r.gflops < limits[0] / 4]})
    (offer,) = survey(small, max_image_size=96, precisions=["fp32"])
    own = [row for row in small.latency if row.precision == "fp32"]
    beyond = offer.space.gflops > max(row.gflops for row in own)
    beyond |= offer.space.columns.params_m > max(row.params_m for row in own)
    assert np.array_equal(offer.extrapolated, beyond)
    assert beyond.any() and not beyond.all()


@pytest.mark.parametrize(("value", "shown"), [(0.123456, 0.124), (1.0, 1.0), (12.31, 12.4), (1234.5, 1240.0)])
def test_a_limit_is_rounded_so_that_it_can_be_met(value, shown):
    assert _rounded_up(value) == pytest.approx(shown)


def test_a_spec_by_hand_is_for_the_profile_that_is_named(everyone, profile):
    specs = select(everyone, Budget(latency_ms=30), max_image_size=64, top=50, precisions=["fp32"])
    for spec in (spec.model_copy(update={"measured_ms": 1.0}) for spec in specs):
        assert for_profile(spec, everyone) is spec
        found = for_profile(spec, profile)
        assert (found.target, found.measured_ms, found.budget) == (profile.target, None, profile.budget)
        known = spec.workload.family in profile.cost_model["fp32"].families
        assert found.predicted_ms == (predict_ms(profile, spec.workload, "fp32") if known else None)
        other = for_profile(spec.model_copy(update={"precision": "fp16"}), profile)
        assert other.predicted_ms is None, "the profile does not speak for it"
    vit = select(profile, Budget(latency_ms=5), max_image_size=64, top=1)[0]
    changed = vit.model_copy(update={"target": None, "predicted_ms": None})
    assert for_profile(changed, profile).predicted_ms == pytest.approx(vit.predicted_ms)


def test_the_list_is_what_a_loop_over_all_would_choose(everyone):
    budget = Budget(latency_ms=8)
    candidates = survey(everyone, max_image_size=48)
    every = []
    for offer in candidates:
        for row in np.flatnonzero(fitting(offer, budget)):
            shape = np.log2([offer.space.gflops[row], offer.space.columns.params_m[row]])
            kind = (offer.precision, offer.space.columns.image_size[row], offer.space.columns.family[row])
            every.append((-offer.score[row], offer.p50_ms[row], offer.space.name(row), offer.precision, kind, shape))
    chosen = []
    for one in sorted(every, key=lambda one: one[:2]):
        if all(one[4] != kept[4] or np.abs(one[5] - kept[5]).sum() >= DIFFERENT for kept in chosen):
            chosen.append(one)
    found = select(everyone, budget, max_image_size=48, top=25)
    assert [(spec.name, spec.precision) for spec in found] == [(one[2], one[3]) for one in chosen[:25]]


def test_limits_that_only_together_cannot_be_met(everyone):
    candidates = survey(everyone, max_image_size=64)
    quickest = min(candidates, key=lambda offer: offer.p90_ms.min())
    row = int(quickest.p90_ms.argmin())
    smallest = min(float(offer.size_mb.min()) for offer in candidates)
    budget = Budget(latency_ms=float(quickest.p90_ms[row]), size_mb=smallest)
    assert quickest.size_mb[row] > smallest
    told = f"no student fits {budget.latency_ms:g} ms and {budget.size_mb:g} MB together, though each alone can be met"
    with pytest.raises(BudgetError, match=re.escape(told)):
        select(everyone, budget, max_image_size=64)


def test_memory_starts_from_what_the_device_told(profile):
    told = profile.model_copy(update={"base_memory_mb": 50.0})
    (offer,) = survey(told, max_image_size=32, precisions=["fp32"])
    (other,) = survey(told.model_copy(update={"base_memory_mb": 80.0}), max_image_size=32, precisions=["fp32"])
    assert np.allclose(other.memory_mb - offer.memory_mb, 30.0)
    assert np.allclose(offer.score, score(offer.space, 32, "fp32"))
    (int8,) = survey(told, max_image_size=32, precisions=["int8"])
    assert np.allclose(int8.score, score(offer.space, 32, "int8"))
