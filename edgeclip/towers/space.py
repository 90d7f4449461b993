"""The students there are: every one a stock open_clip ``vision_cfg``, listed whole, so nothing is sampled or missed.

open_clip's own ViTs, in every combination of a few hyperparameters, counted by formula; and timm's convolutional and
hybrid towers at every image size, counted beforehand.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..device.schema import KERNELS, MEASURES, Work, Workload
from ..errors import EdgeclipError
from .timmtowers import Towers, timm_towers, timm_vision_cfg
from .vit import VitShape, vit_workload

Column = NDArray[Any]
IMAGE_SIZES = (*range(32, 225, 16), 256, 288, 320, 384)
PATCH_SIZES = (8, 16, 32)
WIDTHS = tuple(range(64, 769, 32))
DEPTHS = tuple(range(2, 15))
MLP_RATIOS = (1, 2, 3, 4)
HEAD_WIDTHS = (32, 64)
NO_VITS = VitShape(*(np.zeros(0, np.int64),) * 6)
FEWEST_TOKENS = 5  # a grid of 2 x 2 patches and the class token: less is no picture


@dataclass(frozen=True)
class Space:
    """Candidates as equally long columns ``[N]``: the ViTs, then the towers of timm."""

    vits: VitShape
    towers: Towers

    def __len__(self) -> int:
        return len(self.vits.width) + len(self.towers.tower)

    @cached_property
    def work(self) -> NDArray[np.float64]:
        """The work of each kind of kernel, ``[N, kernels, measures]``."""
        counted = self.vits.kernels()
        table = np.zeros((len(self.vits.width), len(KERNELS), len(MEASURES)))
        for kernel, measures in counted.items():
            for place, value in enumerate(measures):
                table[:, KERNELS.index(kernel), place] = value
        return np.concatenate([table, self.towers.work])

    @cached_property
    def gflops(self) -> Column:
        """2 x multiply-adds, billions."""
        return self.work[:, :, MEASURES.index("gflops")].sum(axis=1)

    @cached_property
    def params_m(self) -> Column:
        """Millions of parameters."""
        return np.concatenate([self.vits.params_m(), self.towers.params_m])

    @cached_property
    def peak_melems(self) -> Column:
        """Millions of activations that the hungriest kernel reads and writes."""
        return np.concatenate([self.vits.peak_melems(), self.towers.peak_melems])

    @cached_property
    def image_size(self) -> Column:
        """Side of the input, pixels."""
        return np.concatenate([self.vits.image_size, self.towers.image_size])

    @cached_property
    def family(self) -> Column:
        """``vit``, or a key of :data:`.towers.FAMILIES`."""
        return np.array(["vit"] * len(self.vits.width) + self.towers.family)

    def vision_cfg(self, row: int) -> dict[str, Any]:
        """open_clip's config of one candidate."""
        if row >= len(self.vits.width):
            row -= len(self.vits.width)
            return timm_vision_cfg(self.towers.tower[row], int(self.towers.image_size[row]))
        names = ("image_size", "patch_size", "width", "layers", "mlp_ratio", "head_width")
        numbers = {name: getattr(self.vits, name)[row].item() for name in names}
        return {**numbers, "mlp_ratio": float(numbers["mlp_ratio"])}

    def workload(self, row: int) -> Workload:
        """What one candidate costs."""
        if row < len(self.vits.width):
            return vit_workload(self.vision_cfg(row))
        kernels = {
            kernel: Work(**dict(zip(MEASURES, work, strict=True)))
            for kernel, work in zip(KERNELS, self.work[row].tolist(), strict=True)
            if work[0]
        }
        params, peak = float(self.params_m[row]), float(self.peak_melems[row])
        return Workload(family=str(self.family[row]), kernels=kernels, params_m=params, peak_melems=peak)

    def name(self, row: int) -> str:
        """``vit64-p8-w192-d4-m4-h64``, ``repvit_m0_9-224``."""
        return name_of(self.vision_cfg(row))


def workload_of(vision_cfg: dict[str, Any]) -> Workload:
    """What a student with that config costs: a ViT of open_clip's, or a tower of the table.

    Raises:
        EdgeclipError: it is neither.
    """
    if "timm_model_name" not in vision_cfg:
        return vit_workload(vision_cfg)
    space = Space(NO_VITS, timm_towers())
    wanted = (vision_cfg["timm_model_name"], vision_cfg["image_size"])
    for row, found in enumerate(zip(space.towers.tower, space.towers.image_size.tolist(), strict=True)):
        if found == wanted:
            return space.workload(row)
    raise EdgeclipError(f"{name_of(vision_cfg)} is not in the table of towers: its latency cannot be predicted")


def name_of(vision_cfg: dict[str, Any]) -> str:
    """What a student with that config is called."""
    c = vision_cfg
    if "timm_model_name" in c:
        return f"{c['timm_model_name']}-{c['image_size']}"
    head = f"vit{c['image_size']}-p{c['patch_size']}-w{c['width']}-d{c['layers']}"
    return f"{head}-m{c['mlp_ratio']:g}-h{c['head_width']}"


@lru_cache(maxsize=8)
def whole_space(max_image_size: int = 224) -> Space:
    """Every student whose input is no larger than ``max_image_size`` pixels; a ViT may read just that size.

    Raises:
        EdgeclipError: no input size of whole patches is that small.
    """
    sizes = sorted({size for size in (*IMAGE_SIZES, max_image_size) if size <= max_image_size})
    axes = np.meshgrid(sizes, PATCH_SIZES, WIDTHS, DEPTHS, MLP_RATIOS, HEAD_WIDTHS, indexing="ij")
    size, patch, width, depth, ratio, head = (axis.ravel() for axis in axes)
    whole = (size % patch == 0) & (width % head == 0) & ((size // patch) ** 2 + 1 >= FEWEST_TOKENS)
    if not whole.any():
        raise EdgeclipError(f"no student reads images of {max_image_size} px: allow at least {2 * PATCH_SIZES[0]} px")
    shape = VitShape(*(column[whole] for column in (size, patch, width, depth, ratio, head)))
    return Space(shape, timm_towers().up_to(max_image_size))
