"""What a family of image towers offers. :mod:`.registry` says which families there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..profiling.costmodel import Towers
from ..profiling.schema import KERNELS, MEASURES, Work, Workload


@dataclass(frozen=True)
class Columns:
    """Candidates as equally long columns ``[N]``: what each is, and what one image costs it."""

    family: NDArray[np.str_]  # towers whose times err alike
    image_size: NDArray[np.int64]  # side of the input, pixels
    work: NDArray[np.float64]  # [N, kernels, measures]
    params_m: NDArray[np.float64]  # millions of parameters
    peak_melems: NDArray[np.float64]  # millions of activations that the hungriest kernel reads and writes
    efficiency: NDArray[np.float64]  # what it makes of its arithmetic, in doublings of it, against a well-shaped ViT

    def __len__(self) -> int:
        return len(self.params_m)

    @classmethod
    def of(cls, loads: Sequence[Workload], image_sizes: Sequence[int], efficiency: float) -> Columns:
        """A few candidates of equal efficiency, from what each costs."""
        known = Towers.of(loads)
        return cls(
            family=known.family,
            image_size=np.array(image_sizes, np.int64),
            work=known.work,
            params_m=known.params_m,
            peak_melems=np.array([load.peak_melems for load in loads]),
            efficiency=np.full(len(loads), efficiency),
        )

    @classmethod
    def joined(cls, parts: Sequence[Columns]) -> Columns:
        """All candidates, one part after another."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))

    def workload(self, row: int) -> Workload:
        """One candidate's."""
        kernels = {
            kernel: Work(**dict(zip(MEASURES, work, strict=True)))
            for kernel, work in zip(KERNELS, self.work[row].tolist(), strict=True)
            if work[0]
        }
        params, peak = float(self.params_m[row]), float(self.peak_melems[row])
        return Workload(family=str(self.family[row]), kernels=kernels, params_m=params, peak_melems=peak)


class Candidates(Protocol):
    """All towers of one family, or of some alike, up to an image size."""

    @property
    def columns(self) -> Columns:
        """What each costs."""
        ...

    def vision_cfg(self, row: int) -> dict[str, Any]:
        """open_clip's config of one candidate: it must be enough for open_clip to build the tower."""
        ...


class Family(Protocol):
    """Towers that are counted and configured alike."""

    def candidates(self, max_image_size: int) -> Candidates:
        """Every one whose input is no larger; none may be."""
        ...

    def owns(self, vision_cfg: Mapping[str, Any]) -> bool:
        """Whether open_clip's config is of a tower of this family."""
        ...

    def workload(self, vision_cfg: Mapping[str, Any]) -> Workload:
        """What one image costs such a tower.

        Raises:
            EdgeclipError: that is not known of this one.
        """
        ...

    def name_of(self, vision_cfg: Mapping[str, Any]) -> str:
        """What a student with that config is called."""
        ...
