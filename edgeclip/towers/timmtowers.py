"""timm's convolutional and hybrid towers, counted beforehand: a device has no torch to count with.

``towers.csv`` has a line for each architecture and image size, made by ``benchmarks/make_tower_table.py``. What timm
calls another architecture (``mobilenetv4_conv_small_050``, ``repvit_m1_1``) is how width and depth vary here:
open_clip's stock config takes a name, and nothing else.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..base.errors import EdgeclipError
from ..profiling.schema import KERNELS, MEASURES, Workload
from .family import Columns

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


# What each makes of its arithmetic, in doublings of it, against a well-shaped ViT.
EFFICIENCY = {
    "tiny_vit": 1.6,
    "fastvit": 1.7,
    "convnext": 2.1,
    "repvit": 2.1,
    "efficientvit_msra": 2.3,
    "mobilenetv4": 3.0,
    "efficientvit_mit": 3.2,
}


@dataclass(frozen=True)
class TableRows:
    """Lines of the table as columns: a :class:`~edgeclip.towers.family.Candidates`."""

    tower: list[str]
    columns: Columns

    def vision_cfg(self, row: int) -> dict[str, Any]:
        """open_clip's config of one."""
        return timm_vision_cfg(self.tower[row], int(self.columns.image_size[row]))


@lru_cache(maxsize=1)
def read_table() -> TableRows:
    """The whole table."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    work = np.array([[float(line[name] or 0) for name in WORK] for line in lines])
    sizes, params, peaks = (np.array([float(line[name]) for line in lines]) for name in FIXED[2:])
    shaped = work.reshape(len(lines), len(KERNELS), len(MEASURES))
    names, families = ([line[name] for line in lines] for name in FIXED[:2])
    efficiency = np.array([EFFICIENCY[family] for family in families])
    return TableRows(names, Columns(np.array(families), sizes.astype(np.int64), shaped, params, peaks, efficiency))


class TimmTowers:
    """The towers of the table: a :class:`~edgeclip.towers.family.Family`."""

    def candidates(self, max_image_size: int) -> TableRows:
        """The lines whose input is no larger."""
        table = read_table()
        rows = np.flatnonzero(table.columns.image_size <= max_image_size)
        columns = Columns(*(getattr(table.columns, column.name)[rows] for column in fields(Columns)))
        return TableRows([table.tower[row] for row in rows], columns)

    def owns(self, vision_cfg: Mapping[str, Any]) -> bool:
        """Every model of timm's."""
        return "timm_model_name" in vision_cfg

    def workload(self, vision_cfg: Mapping[str, Any]) -> Workload:
        """That of the table's line.

        Raises:
            EdgeclipError: it has none.
        """
        table, wanted = read_table(), (vision_cfg["timm_model_name"], vision_cfg["image_size"])
        for row, tower in enumerate(zip(table.tower, table.columns.image_size.tolist(), strict=True)):
            if tower == wanted:
                return table.columns.workload(row)
        raise EdgeclipError(
            f"{self.name_of(vision_cfg)} is not in the table of towers: its latency cannot be predicted"
        )

    def name_of(self, vision_cfg: Mapping[str, Any]) -> str:
        """``repvit_m0_9-224``."""
        return f"{vision_cfg['timm_model_name']}-{vision_cfg['image_size']}"


def timm_vision_cfg(tower: str, image_size: int) -> dict[str, Any]:
    """open_clip's config of a timm tower. Its own classifier is the projection: some have layers before it."""
    return {
        "timm_model_name": tower,
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": None,
        "image_size": image_size,
    }
