"""What a tower costs, in numbers that others have published."""

import numpy as np
import pytest

from edgeclip.towers.family import Columns
from edgeclip.towers.prior import score
from edgeclip.towers.space import name_of, whole_space, workload_of
from edgeclip.towers.timmtowers import timm_vision_cfg


@pytest.mark.parametrize(
    ("config", "gflops", "params_m"),
    [  # image_gflops and image_mparams of open_clip's docs/model_profile.csv
        ({"image_size": 224, "patch_size": 32, "width": 768, "layers": 12}, 8.82, 87.85),
        ({"image_size": 224, "patch_size": 16, "width": 768, "layers": 12}, 35.13, 86.19),
        ({"image_size": 224, "patch_size": 14, "width": 1024, "layers": 24}, 162.03, 303.97),
    ],
)
def test_a_vit_costs_what_is_published(config, gflops, params_m):
    load = workload_of({**config, "mlp_ratio": 4.0, "head_width": 64})
    assert load.gflops == pytest.approx(gflops, rel=0.02)
    assert load.params_m == pytest.approx(params_m, rel=0.02)


@pytest.mark.parametrize(("name", "gmacs"), [("repvit_m1_0", 1.1), ("mobilenetv4_conv_small", 0.2)])
def test_a_convolutional_tower_costs_what_is_published(name, gmacs):
    """Wang et al. 2024 (arXiv 2307.09283), Qin et al. 2024 (arXiv 2404.10518), at 224 px."""
    assert workload_of(timm_vision_cfg(name, 224)).gflops == pytest.approx(2 * gmacs, rel=0.1)


def test_the_columns_are_the_workloads():
    space = whole_space(64)
    for row in (0, 1234, len(space) - 1):
        load, config = space.workload(row), space.vision_cfg(row)
        assert load.kernels == workload_of(config).kernels
        assert load.gflops == pytest.approx(space.gflops[row])
        assert space.name(row) == name_of(config)
    again = Columns.of([space.workload(0), space.workload(1)], space.columns.image_size[:2], efficiency=0.5)
    assert np.allclose(again.work, space.columns.work[:2])
    assert again.efficiency.tolist() == [0.5, 0.5]


def test_more_arithmetic_and_more_pixels_score_higher():
    space = whole_space(64)
    names = [space.name(row) for row in range(len(space))]
    found = dict(zip(names, score(space, 64, "fp32").tolist(), strict=True))
    assert found["vit64-p8-w256-d8-m4-h64"] > found["vit64-p8-w192-d6-m4-h64"] > found["vit64-p8-w64-d6-m4-h64"]
    assert found["vit64-p8-w256-d8-m4-h64"] > found["vit64-p8-w256-d8-m1-h64"]
    assert found["repvit_m1_0-64"] > found["repvit_m0_9-64"]
    assert np.allclose(score(space, 64, "fp32") - score(space, 64, "int8"), 0.1)
    assert np.allclose(score(space, 64, "fp32") - score(space, 128, "fp32"), 0.5)
