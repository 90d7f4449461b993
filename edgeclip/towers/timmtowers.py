"""timm's convolutional and hybrid towers, counted beforehand: a device has no torch to count with.

``towers.csv`` has a line for each architecture and image size, made by ``benchmarks/make_tower_table.py``. What timm
calls another architecture (``mobilenetv4_conv_small_050``, ``repvit_m1_1``) is how width and depth vary here:
open_clip's stock config takes a name, and nothing else.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..device.schema import KERNELS, MEASURES

TABLE = Path(__file__).with_name("towers.csv")
FIXED = ("tower", "family", "image_size", "params_m", "peak_melems")
WORK = tuple(f"{kernel}.{measure}" for kernel in KERNELS for measure in MEASURES)
# timm's names of each family. ConvNeXt ends at nano: larger ones are teachers.
FAMILIES: dict[str, tuple[str, ...]] = {
    "repvit": ("repvit_m0_9", "repvit_m1_0", "repvit_m1_1", "repvit_m1_5", "repvit_m2_3"),
    "fastvit": (
        *("fastvit_t8", "fastvit_t12", "fastvit_s12", "fastvit_sa12", "fastvit_sa24", "fastvit_sa36"),
        *("fastvit_mci0", "fastvit_mci1", "fastvit_mci2"),
    ),
    "mobilenetv4": (
        *("mobilenetv4_conv_small_035", "mobilenetv4_conv_small_050", "mobilenetv4_conv_small"),
        *("mobilenetv4_conv_medium", "mobilenetv4_conv_large"),
        *("mobilenetv4_hybrid_medium_075", "mobilenetv4_hybrid_medium", "mobilenetv4_hybrid_large"),
    ),
    "efficientvit_mit": ("efficientvit_b0", "efficientvit_b1", "efficientvit_b2", "efficientvit_b3"),
    "efficientvit_msra": tuple(f"efficientvit_m{size}" for size in range(6)),
    "convnext": (
        *("convnext_atto", "convnext_femto", "convnext_pico", "convnext_nano"),
        *("convnext_atto_ols", "convnext_femto_ols", "convnext_pico_ols", "convnext_nano_ols"),
        *("convnextv2_atto", "convnextv2_femto", "convnextv2_pico", "convnextv2_nano"),
    ),
    "tiny_vit": ("tiny_vit_5m_224", "tiny_vit_11m_224", "tiny_vit_21m_224"),
}
IMAGE_SIZES = tuple(range(64, 385, 32))


@dataclass(frozen=True)
class Towers:
    """The table's lines as columns ``[N]``."""

    tower: list[str]
    family: list[str]
    image_size: NDArray[np.int64]
    params_m: NDArray[np.float64]
    peak_melems: NDArray[np.float64]
    work: NDArray[np.float64]  # [N, kernels, measures]

    def up_to(self, max_image_size: int) -> Towers:
        """Those whose input is no larger."""
        rows = np.flatnonzero(self.image_size <= max_image_size)
        names, families = ([column[row] for row in rows] for column in (self.tower, self.family))
        columns = (self.image_size[rows], self.params_m[rows], self.peak_melems[rows], self.work[rows])
        return Towers(names, families, *columns)


@lru_cache(maxsize=1)
def timm_towers() -> Towers:
    """The whole table."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    work = np.array([[float(line[name] or 0) for name in WORK] for line in lines])
    sizes, params, peaks = (np.array([float(line[name]) for line in lines]) for name in FIXED[2:])
    shaped = work.reshape(len(lines), len(KERNELS), len(MEASURES))
    names, families = ([line[name] for line in lines] for name in FIXED[:2])
    return Towers(names, families, sizes.astype(np.int64), params, peaks, shaped)


def timm_vision_cfg(tower: str, image_size: int) -> dict[str, Any]:
    """open_clip's config of a timm tower. Its own classifier is the projection: some have layers before it."""
    return {
        "timm_model_name": tower,
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": None,
        "image_size": image_size,
    }
