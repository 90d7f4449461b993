"""The students there are: every combination of a few hyperparameters that is a stock open_clip ``vision_cfg``.

The space is small enough to list whole, as columns, so nothing is sampled and nothing is missed. Another family of
towers would bring its own columns and its own ``vision_cfg``; what selects needs only what :class:`Space` offers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import EdgeclipError
from .workload import VitShape

Column = NDArray[Any]
IMAGE_SIZES = (32, 48, 64, 96, 128, 160, 192, 224, 256, 288, 336, 384)
PATCH_SIZES = (8, 16, 32)
WIDTHS = tuple(range(64, 769, 32))
DEPTHS = tuple(range(2, 13))
MLP_RATIOS = (2, 3, 4)
HEAD_WIDTHS = (32, 64)
FEWEST_TOKENS = 5  # a grid of 2 x 2 patches and the class token: less is no picture


@dataclass(frozen=True)
class Space:
    """Candidates as equally long columns ``[N]``."""

    image_size: Column
    patch_size: Column
    width: Column
    layers: Column
    mlp_ratio: Column
    head_width: Column

    def __len__(self) -> int:
        return len(self.width)

    def shape(self) -> VitShape:
        """The same columns, as what workloads are counted from."""
        return VitShape(**vars(self))

    def costs(self) -> dict[str, Column]:
        """The fields of a Workload, as columns ``[N]``."""
        shape = self.shape()
        return {
            "linear_gflops": shape.linear_gflops(),
            "attention_gflops": shape.attention_gflops(),
            "elementwise_melems": shape.elementwise_melems(),
            "depth": self.layers,
            "tokens": shape.tokens,
            "params_m": shape.params_m(),
        }

    def vision_cfg(self, row: int) -> dict[str, Any]:
        """open_clip's config of one candidate."""
        numbers = {name: column[row].item() for name, column in vars(self).items()}
        return {**numbers, "mlp_ratio": float(numbers["mlp_ratio"])}

    def name(self, row: int) -> str:
        """``vit64-p8-w192-d4-m4-h64``."""
        c = self.vision_cfg(row)
        head = f"vit{c['image_size']}-p{c['patch_size']}-w{c['width']}-d{c['layers']}"
        return f"{head}-m{c['mlp_ratio']:g}-h{c['head_width']}"


@lru_cache(maxsize=8)
def vit_space(max_image_size: int = 224) -> Space:
    """Every ViT whose input is no larger than ``max_image_size`` pixels, that size itself among them.

    Raises:
        EdgeclipError: no input size of whole patches is that small.
    """
    sizes = sorted({size for size in (*IMAGE_SIZES, max_image_size) if size <= max_image_size})
    axes = np.meshgrid(sizes, PATCH_SIZES, WIDTHS, DEPTHS, MLP_RATIOS, HEAD_WIDTHS, indexing="ij")
    size, patch, width, depth, ratio, head = (axis.ravel() for axis in axes)
    whole = (size % patch == 0) & (width % head == 0) & ((size // patch) ** 2 + 1 >= FEWEST_TOKENS)
    if not whole.any():
        raise EdgeclipError(f"no student reads images of {max_image_size} px: allow at least {2 * PATCH_SIZES[0]} px")
    return Space(*(column[whole] for column in (size, patch, width, depth, ratio, head)))
