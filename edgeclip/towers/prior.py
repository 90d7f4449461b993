"""How accurate a student may become, before it is trained: a ranking, not a forecast. Only differences mean anything.

Compute is the best single predictor of accuracy, so the score starts from it and is read in doublings of compute: a
candidate that is 1 higher is expected to do what the other would do with twice the arithmetic.

    score = log2(GFLOP)
          + what the family makes of its compute        see FAMILIES
          - 0.50 log2(largest size / image size)        detail that a smaller input never sees
          - 0.10                                        int8: what quantisation costs

and of a ViT, for compute spent badly, with weights set by judgement, after published families:

          - 0.15 log2(width / layers / 32)^2        DeiT and TinyCLIP lie at width / layers = 16 ... 53; width 64 with
                                                    12 blocks, or 768 with 2, is far from any that works
          - 1.50 log2(4 / layers)                   below 4 blocks: on the demo, two blocks kept 63 % of the teacher's
                                                    top-1 where four, at half the latency, kept 97 %
          - 0.15 log2(50 / tokens)^2                below 50 tokens (224 px in patches of 32): too coarse a grid
          - 0.15 log2(tokens / 257)^2               above 257 tokens: arithmetic spent on neighbours that look alike
          - 0.10 log2(3 / heads)                    below 3 attention heads
          - 0.30 log2(4 / MLP ratio)                below the usual MLP: the same arithmetic holds fewer features
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..device.schema import Precision
from .space import Space
from .vit import VitShape

ASPECT = 32.0  # width per block
SHALLOW, HEADS, RATIO = 4, 3, 4
COARSE, FINE = 50, 257  # tokens
QUANTISED = 0.1
FAMILIES = {
    "vit": 0.0,
    "tiny_vit": 1.6,
    "fastvit": 1.7,
    "convnext": 2.1,
    "repvit": 2.1,
    "efficientvit_msra": 2.3,
    "mobilenetv4": 3.0,
    "efficientvit_mit": 3.2,
}


def score(space: Space, max_image_size: int, precision: Precision) -> NDArray[np.float64]:
    """The score of every candidate, float64 ``[N]``, higher is better; see the module for the formula."""
    names, places = np.unique(space.family, return_inverse=True)
    gained = np.array([FAMILIES[name] for name in names.tolist()])[places]
    gained[: len(space.vits.width)] -= _spent_badly(space.vits)
    blurred = np.log2(max_image_size / space.image_size)
    lost = 0.5 * blurred + (QUANTISED if precision == "int8" else 0)
    return np.asarray(np.log2(space.gflops) + gained - lost, np.float64)


def _spent_badly(vits: VitShape) -> NDArray[np.float64]:
    aspect = np.log2(vits.width / vits.layers / ASPECT) ** 2
    shallow = np.log2(np.maximum(1, SHALLOW / vits.layers))
    coarse = np.log2(np.maximum(1, COARSE / vits.tokens)) ** 2
    fine = np.log2(np.maximum(1, vits.tokens / FINE)) ** 2
    narrow = np.log2(np.maximum(1, HEADS / (vits.width // vits.head_width)))
    thin = np.log2(np.maximum(1, RATIO / vits.mlp_ratio))
    lost = 0.15 * aspect + 1.5 * shallow + 0.15 * (coarse + fine) + 0.1 * narrow + 0.3 * thin
    return np.asarray(lost, np.float64)
