"""How accurate a student may become, before it is trained: a ranking, not a forecast. Only differences mean anything.

Compute is the best single predictor of a ViT's accuracy, so the score starts from it and is read in doublings of
compute: a candidate that is 1 higher is expected to do what the other would do with twice the arithmetic. From it is
taken what compute spent badly is worth, with weights set by judgement, after published families of ViTs:

    score = log2(GFLOP)
          - 0.15 log2(width / layers / 32)^2        DeiT and TinyCLIP lie at width / layers = 16 ... 53; width 64 with
                                                    12 blocks, or 768 with 2, is far from any that works
          - 1.50 log2(4 / layers)                   below 4 blocks: on the demo, two blocks kept 63 % of the teacher's
                                                    top-1 where four, at half the latency, kept 97 %
          - 0.15 log2(50 / tokens)^2                below 50 tokens (224 px in patches of 32): too coarse a grid
          - 0.15 log2(tokens / 257)^2               above 257 tokens: arithmetic spent on neighbours that look alike
          - 0.50 log2(largest size / image size)    detail that a smaller input never sees
          - 0.10 log2(3 / heads)                    below 3 attention heads
          - 0.10                                    int8: what quantisation costs
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..device.schema import Precision
from .space import Space

ASPECT = 32.0  # width per block
SHALLOW, HEADS = 4, 3
COARSE, FINE = 50, 257  # tokens
QUANTISED = 0.1


def score(space: Space, max_image_size: int, precision: Precision) -> NDArray[np.float64]:
    """The score of every candidate, float64 ``[N]``, higher is better; see the module for the formula."""
    shape = space.shape()
    compute = np.log2(shape.linear_gflops() + shape.attention_gflops())
    aspect = np.log2(space.width / space.layers / ASPECT) ** 2
    shallow = np.log2(np.maximum(1, SHALLOW / space.layers))
    coarse = np.log2(np.maximum(1, COARSE / shape.tokens)) ** 2
    fine = np.log2(np.maximum(1, shape.tokens / FINE)) ** 2
    blurred = np.log2(max_image_size / space.image_size)
    narrow = np.log2(np.maximum(1, HEADS / (space.width // space.head_width)))
    lost = 0.15 * aspect + 1.5 * shallow + 0.15 * (coarse + fine) + 0.5 * blurred + 0.1 * narrow
    return np.asarray(compute - lost - (QUANTISED if precision == "int8" else 0), np.float64)
