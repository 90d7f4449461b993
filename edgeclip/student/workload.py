"""What one image costs an open_clip ViT: counted from its config, without building it.

The counts follow the standard transformer (Dosovitskiy et al. 2021, arXiv:2010.11929) as open_clip builds it: a patch
convolution without bias, a class token, learned positions, LayerNorm before and after, ``layers`` pre-norm blocks, a
projection. Every function takes numbers or numpy columns alike, so the whole search space is counted in one call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..device.schema import Workload
from ..errors import EdgeclipError

EMBED_DIM = 512  # CLIP's usual one; the projection is too small for its width to matter
Number = Any  # an int, a float or a numpy column of them


@dataclass(frozen=True)
class VitShape:
    """A ViT's hyperparameters: numbers for one tower, columns for many."""

    image_size: Number  # pixels
    patch_size: Number  # pixels
    width: Number
    layers: Number
    mlp_ratio: Number
    head_width: Number
    embed_dim: Number = EMBED_DIM

    @property
    def tokens(self) -> Number:
        """Sequence length: patches and the class token."""
        return (self.image_size // self.patch_size) ** 2 + 1

    @property
    def hidden(self) -> Number:
        """Width within the MLP, rounded down as open_clip does."""
        return np.floor(self.width * self.mlp_ratio)

    def linear_gflops(self) -> Number:
        """Products of activations and weights, 2 x multiply-adds."""
        patches = 2 * (self.tokens - 1) * 3 * self.patch_size**2 * self.width
        block = self.tokens * (8 * self.width**2 + 4 * self.width * self.hidden)  # q, k, v and out; both of the MLP
        return (patches + self.layers * block + 2 * self.width * self.embed_dim) / 1e9

    def attention_gflops(self) -> Number:
        """Products of activations and activations: queries by keys, probabilities by values."""
        return self.layers * 4 * self.tokens**2 * self.width / 1e9

    def elementwise_melems(self) -> Number:
        """Elements read through norms, residual adds, head transposes, activations and softmax, millions."""
        heads = self.width // self.head_width
        block = self.tokens * (8 * self.width + self.hidden) + heads * self.tokens**2
        return (4 * self.tokens * self.width + self.layers * block) / 1e6

    def params_m(self) -> Number:
        """Parameters of the image tower, millions."""
        w, hidden = self.width, self.hidden
        block = 4 * w**2 + 4 * w + 2 * w * hidden + hidden + w + 4 * w
        ends = 3 * self.patch_size**2 * w + w + self.tokens * w + 4 * w + w * self.embed_dim
        return (ends + self.layers * block) / 1e6


def vit_shape(vision_cfg: Mapping[str, Any], embed_dim: int = EMBED_DIM) -> VitShape:
    """The shape that an open_clip ``vision_cfg`` describes, with open_clip's defaults where it is silent.

    Raises:
        EdgeclipError: it is no ViT of open_clip's own, or its image is not a square of whole patches.
    """
    layers = vision_cfg.get("layers", 12)
    if vision_cfg.get("timm_model_name") or not isinstance(layers, int):
        raise EdgeclipError("vision_cfg: only open_clip's own ViTs are counted (an integer 'layers', no timm model)")
    shape = VitShape(
        image_size=vision_cfg.get("image_size", 224),
        patch_size=vision_cfg.get("patch_size", 16),
        width=vision_cfg.get("width", 768),
        layers=layers,
        mlp_ratio=vision_cfg.get("mlp_ratio", 4.0),
        head_width=vision_cfg.get("head_width", 64),
        embed_dim=embed_dim,
    )
    if not isinstance(shape.image_size, int) or shape.image_size % shape.patch_size:
        size, patch = shape.image_size, shape.patch_size
        raise EdgeclipError(f"vision_cfg: image_size {size} must be one number and a multiple of patch_size {patch}")
    if shape.width % shape.head_width:
        width, head = shape.width, shape.head_width
        raise EdgeclipError(f"vision_cfg: width {width} must be a multiple of head_width {head}")
    return shape


def vit_workload(vision_cfg: Mapping[str, Any], embed_dim: int = EMBED_DIM) -> Workload:
    """The :class:`Workload` of an open_clip ``vision_cfg``.

    Raises:
        EdgeclipError: see :func:`vit_shape`.
    """
    shape = vit_shape(vision_cfg, embed_dim)
    return Workload(
        family="vit",
        linear_gflops=float(shape.linear_gflops()),
        attention_gflops=float(shape.attention_gflops()),
        elementwise_melems=float(shape.elementwise_melems()),
        depth=shape.layers,
        tokens=shape.tokens,
        params_m=float(shape.params_m()),
    )
