"""The students there are: every one a stock open_clip ``vision_cfg``, listed whole, so nothing is sampled or missed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.errors import EdgeclipError
from ..profiling.schema import MEASURES, Workload
from .family import Candidates, Columns, Family
from .registry import families


@dataclass(frozen=True)
class Space:
    """The candidates of all families, one family after another."""

    parts: Sequence[tuple[Family, Candidates]]

    def __len__(self) -> int:
        return len(self.columns)

    @cached_property
    def columns(self) -> Columns:
        """What each costs."""
        return Columns.joined([candidates.columns for _, candidates in self.parts])

    @cached_property
    def gflops(self) -> NDArray[np.float64]:
        """2 x multiply-adds, billions ``[N]``."""
        return self.columns.work[:, :, MEASURES.index("gflops")].sum(axis=1)

    def vision_cfg(self, row: int) -> dict[str, Any]:
        """open_clip's config of one candidate."""
        return self._at(row)[1]

    def workload(self, row: int) -> Workload:
        """What one candidate costs."""
        return self.columns.workload(row)

    def name(self, row: int) -> str:
        """``vit64-p8-w192-d4-m4-h64``, ``repvit_m0_9-224``."""
        family, vision_cfg = self._at(row)
        return family.name_of(vision_cfg)

    def _at(self, row: int) -> tuple[Family, dict[str, Any]]:
        for family, candidates in self.parts:
            if row < len(candidates.columns):
                return family, candidates.vision_cfg(row)
            row -= len(candidates.columns)
        raise IndexError(row)


def workload_of(vision_cfg: Mapping[str, Any]) -> Workload:
    """What a student with that config costs.

    Raises:
        EdgeclipError: no family has it, or it is of a kind that nobody counted.
    """
    return _family_of(vision_cfg).workload(vision_cfg)


def name_of(vision_cfg: Mapping[str, Any]) -> str:
    """What a student with that config is called."""
    return _family_of(vision_cfg).name_of(vision_cfg)


def _family_of(vision_cfg: Mapping[str, Any]) -> Family:
    for family in families():
        if family.owns(vision_cfg):
            return family
    raise EdgeclipError("vision_cfg: no family of towers has such a one")


SURELY = 64  # px: there are students of this size


@lru_cache(maxsize=8)
def whole_space(max_image_size: int = 224) -> Space:
    """Every student whose input is no larger than ``max_image_size`` pixels.

    Raises:
        EdgeclipError: there is none.
    """
    space = _space(max_image_size)
    if not len(space):
        least = next(size for size in range(max_image_size + 1, SURELY + 1) if len(_space(size)))
        raise EdgeclipError(f"no student reads images of {max_image_size} px: allow {least} at least")
    return space


def _space(max_image_size: int) -> Space:
    return Space([(family, family.candidates(max_image_size)) for family in families()])
