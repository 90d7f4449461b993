"""What one image costs an open_clip ViT: counted from its config, without building it.

The counts follow the standard transformer (Dosovitskiy et al. 2021, arXiv:2010.11929) as open_clip builds it: a patch
convolution without bias, a class token, learned positions, LayerNorm before and after, ``layers`` pre-norm blocks, a
projection; with attention as it is exported. They equal what :mod:`.operators` counts on the built tower. Every
function takes numbers or numpy columns alike, so the whole search space is counted in one call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..base.errors import EdgeclipError
from ..profiling.schema import KERNELS, MEASURES, Kernel, Work, Workload
from .family import Columns

IMAGE_SIZES = (*range(32, 225, 16), 256, 288, 320, 384)
PATCH_SIZES = (8, 16, 32)
WIDTHS = tuple(range(64, 769, 32))
DEPTHS = tuple(range(2, 15))
MLP_RATIOS = (1, 2, 3, 4)
HEAD_WIDTHS = (32, 64)
FEWEST_TOKENS = 5  # a grid of 2 x 2 patches and the class token: less is no picture
# Of a good shape: width per block, blocks, heads, MLP ratio; tokens of too coarse and too fine a grid.
ASPECT, SHALLOW, HEADS, RATIO, COARSE, FINE = 32.0, 4, 3, 4, 50, 257
EMBED_DIM = 512  # CLIP's usual one; the projection is too small for its width to matter
Number = Any  # an int, a float or a numpy column of them
Counts = dict[Kernel, tuple[Number, Number, Number, Number]]  # calls, GFLOP, millions of elements, of parameters


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

    def kernels(self) -> Counts:
        """The work of each kind of kernel."""
        t, w, n, hidden = self.tokens, self.width, self.layers, self.hidden
        states, patches = t * w, (t - 1) * w  # elements of one tensor of token states; of the patches alone
        scores = (w // self.head_width) * t**2
        patch = 3 * self.patch_size**2
        matrices = 4 * w**2 + 2 * w * hidden  # q, k, v and out; both of the MLP
        pixels = 3 * self.image_size**2
        ends = w + self.embed_dim
        return {
            "conv": _work(1, 2 * patches * patch, pixels + patches, patch * w),
            "linear": _work(
                4 * n + 1,
                2 * n * t * matrices + 2 * w * self.embed_dim,
                n * (8 * states + 2 * t * hidden) + ends,
                n * matrices + w * self.embed_dim,
            ),
            "product": _work(2 * n, 4 * n * t * states, n * (4 * states + 2 * scores), 0),
            "softmax": _work(n, 0, 2 * n * scores, 0),
            "norm": _work(2 * n + 2, 0, 2 * (2 * n + 2) * states, 0),
            "gelu": _work(n, 0, 2 * n * t * hidden, 0),
            "elementwise": _work(2 * n + 1, 0, 3 * (2 * n + 1) * states, 0),
            # A block splits queries, keys and values, turns each to heads first, keys again, and the result back.
            "movement": _work(6 * n + 4, 0, 2 * (8 * n * states + 2 * patches + states + w), 0),
        }

    def gflops(self) -> Number:
        """2 x multiply-adds of all products and the convolution, billions."""
        return sum(work[1] for work in self.kernels().values())

    def params_m(self) -> Number:
        """Parameters of the image tower, millions."""
        w, hidden = self.width, self.hidden
        block = 4 * w**2 + 4 * w + 2 * w * hidden + hidden + w + 4 * w
        ends = 3 * self.patch_size**2 * w + w + self.tokens * w + 4 * w + w * self.embed_dim
        return (ends + self.layers * block) / 1e6

    def peak_melems(self) -> Number:
        """Millions of activations that the hungriest kernel reads and writes."""
        scores = (self.width // self.head_width) * self.tokens**2
        states = self.tokens * self.width
        inner = np.maximum(states + self.tokens * self.hidden, 2 * self.tokens * self.hidden)
        moved = np.maximum(6 * states, 2 * scores)
        pixels = 3 * self.image_size**2 + (self.tokens - 1) * self.width
        return np.maximum(np.maximum(inner, moved), np.maximum(pixels, scores + 2 * states)) / 1e6


def _work(calls: Number, flops: Number, elems: Number, params: Number) -> tuple[Number, Number, Number, Number]:
    return calls, flops / 1e9, elems / 1e6, params / 1e6


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
    kernels = {
        kind: Work(**{name: float(value) for name, value in zip(MEASURES, work, strict=True)})  # type: ignore[arg-type]
        for kind, work in shape.kernels().items()
    }
    return Workload(
        family="vit", kernels=kernels, params_m=float(shape.params_m()), peak_melems=float(shape.peak_melems())
    )


def spent_badly(shape: VitShape) -> Number:
    """What a ViT loses by its shape, in doublings of its arithmetic; weights by judgement, after published families.

    - 0.15 log2(width / layers / 32)^2: DeiT and TinyCLIP lie at width / layers = 16 ... 53; width 64 with 12 blocks, or
      768 with 2, is far from any that works;
    - 1.50 log2(4 / layers) below 4 blocks: on the demo, two blocks kept 63 % of the teacher's top-1 where four, at half
      the latency, kept 97 %;
    - 0.15 log2(50 / tokens)^2 below 50 tokens (224 px in patches of 32): too coarse a grid;
    - 0.15 log2(tokens / 257)^2 above 257 tokens: arithmetic spent on neighbours that look alike;
    - 0.10 log2(3 / heads) below 3 attention heads;
    - 0.30 log2(4 / MLP ratio) below the usual MLP: the same arithmetic holds fewer features.
    """
    aspect = np.log2(shape.width / shape.layers / ASPECT) ** 2
    shallow = np.log2(np.maximum(1, SHALLOW / shape.layers))
    coarse = np.log2(np.maximum(1, COARSE / shape.tokens)) ** 2
    fine = np.log2(np.maximum(1, shape.tokens / FINE)) ** 2
    narrow = np.log2(np.maximum(1, HEADS / (shape.width // shape.head_width)))
    thin = np.log2(np.maximum(1, RATIO / shape.mlp_ratio))
    return 0.15 * aspect + 1.5 * shallow + 0.15 * (coarse + fine) + 0.1 * narrow + 0.3 * thin


@dataclass(frozen=True)
class VitCandidates:
    """ViTs as columns: a :class:`~edgeclip.towers.family.Candidates`."""

    shape: VitShape

    @cached_property
    def columns(self) -> Columns:
        """Counted by formula."""
        shape, count = self.shape, len(self.shape.width)
        work = np.zeros((count, len(KERNELS), len(MEASURES)))
        for kernel, measures in shape.kernels().items():
            for place, value in enumerate(measures):
                work[:, KERNELS.index(kernel), place] = value
        efficiency = -np.asarray(spent_badly(shape), np.float64)
        return Columns(np.full(count, "vit"), shape.image_size, work, shape.params_m(), shape.peak_melems(), efficiency)

    def vision_cfg(self, row: int) -> dict[str, Any]:
        """open_clip's config of one."""
        names = ("image_size", "patch_size", "width", "layers", "mlp_ratio", "head_width")
        numbers = {name: getattr(self.shape, name)[row].item() for name in names}
        return {**numbers, "mlp_ratio": float(numbers["mlp_ratio"])}


class Vits:
    """open_clip's ViTs, in every combination of a few hyperparameters: a :class:`~edgeclip.towers.family.Family`."""

    def candidates(self, max_image_size: int) -> VitCandidates:
        """At the usual sizes, and at just the largest one."""
        sizes = sorted({size for size in (*IMAGE_SIZES, max_image_size) if size <= max_image_size})
        axes = np.meshgrid(sizes, PATCH_SIZES, WIDTHS, DEPTHS, MLP_RATIOS, HEAD_WIDTHS, indexing="ij")
        size, patch, width, depth, ratio, head = (axis.ravel() for axis in axes)
        whole = (size % patch == 0) & (width % head == 0) & ((size // patch) ** 2 + 1 >= FEWEST_TOKENS)
        return VitCandidates(VitShape(*(column[whole] for column in (size, patch, width, depth, ratio, head))))

    def owns(self, vision_cfg: Mapping[str, Any]) -> bool:
        """What names no model of timm's."""
        return "timm_model_name" not in vision_cfg

    def workload(self, vision_cfg: Mapping[str, Any]) -> Workload:
        """See :func:`vit_workload`."""
        return vit_workload(vision_cfg)

    def name_of(self, vision_cfg: Mapping[str, Any]) -> str:
        """``vit64-p8-w192-d4-m4-h64``."""
        shape = vit_shape(vision_cfg)
        head = f"vit{shape.image_size}-p{shape.patch_size}-w{shape.width}-d{shape.layers}"
        return f"{head}-m{shape.mlp_ratio:g}-h{shape.head_width}"
