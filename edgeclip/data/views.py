"""Views of images that can be replayed: they depend on nothing but a seed, an image's own and a view's number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..runtime.manifest import Preprocess
from .augment import Augment

Seeds = Sequence[int] | NDArray[np.uint64]  # one an image


class Views:
    """The augmented views of every image: affine maps that depend on nothing but the seeds and the view's number."""

    def __init__(self, augment: Augment, seed: int) -> None:
        self._augment, self._seed = augment, seed

    def maps(self, seeds: Seeds, view: int) -> Tensor:
        """The maps of one view of images with these seeds, float32 ``[N, 2, 3]``: output to input, in [-1, 1]."""
        draw = uniform(self._seed, view, seeds, 6)
        augment = self._augment
        side = (augment.area[0] + (augment.area[1] - augment.area[0]) * draw[:, 0]).sqrt()
        stretch = torch.exp((draw[:, 1] * 2 - 1) * math.log1p(augment.aspect) / 2)
        wide, high = (side * stretch).clamp(max=1), (side / stretch).clamp(max=1)
        angle = (draw[:, 2] * 2 - 1) * math.radians(augment.rotate)
        mirror = torch.where((draw[:, 3] < 0.5) & augment.flip, -1.0, 1.0)
        left, top = (draw[:, 4] * 2 - 1) * (1 - wide), (draw[:, 5] * 2 - 1) * (1 - high)
        first = torch.stack([wide * angle.cos() * mirror, -wide * angle.sin(), left], dim=1)
        second = torch.stack([high * angle.sin() * mirror, high * angle.cos(), top], dim=1)
        return torch.stack([first, second], dim=1)

    def apply(self, images: Tensor, seeds: Seeds, view: int) -> Tensor:
        """Views of uint8 ``[N, 3, S, S]`` images with these seeds, on their device: float32, the same shape, 0..255."""
        grid = F.affine_grid(self.maps(seeds, view).to(images.device), list(images.shape), align_corners=False)
        planes = images.to(torch.float32, memory_format=torch.contiguous_format)
        return F.grid_sample(planes, grid, padding_mode="border", align_corners=False)


def uniform(seed: int, stream: int, seeds: Seeds, width: int) -> Tensor:
    """Numbers in [0, 1), float32 ``[N, width]``; an image's depend on seed, stream and its own, not on its batch.

    SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) as a hash of the place: no table, however many images there are.
    """
    with np.errstate(over="ignore"):
        place = np.asarray(seeds, np.uint64)[:, None] * np.uint64(width) + np.arange(width, dtype=np.uint64)
        start = np.uint64(seed) * np.uint64(0xD1B54A32D192ED03) + np.uint64(stream) * np.uint64(0x8CB92BA72F3D8DD7)
        z = _mixed(start) + (place + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        return torch.from_numpy((_mixed(z) >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24))


def _mixed(z: Any) -> Any:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


class Normalise:
    """0..255 pixels of any size -> a tower's normalised input of its own size."""

    def __init__(self, preprocess: Preprocess) -> None:
        self.size = preprocess.size
        self._mean = 255 * torch.tensor(preprocess.mean).view(1, 3, 1, 1)
        self._std = 255 * torch.tensor(preprocess.std).view(1, 3, 1, 1)

    def __call__(self, pixels: Tensor) -> Tensor:
        """float32 ``[N, 3, s, s]`` -> float32 ``[N, 3, size, size]``."""
        if pixels.shape[-1] != self.size:
            pixels = F.interpolate(pixels, size=(self.size, self.size), mode="bilinear", antialias=True)
        return (pixels - self._mean.to(pixels.device)) / self._std.to(pixels.device)
