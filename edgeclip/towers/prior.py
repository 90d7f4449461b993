"""How accurate a student may become, before it is trained: a ranking, not a forecast. Only differences mean anything.

Compute is the best single predictor of accuracy, so the score starts from it and is read in doublings of compute: a
candidate that is 1 higher is expected to do what the other would do with twice the arithmetic.

    score = log2(GFLOP)
          + efficiency                              what its family makes of arithmetic, less what a bad shape loses
          - 0.50 log2(largest size / image size)    detail that a smaller input never sees
          - 0.10                                    int8: what quantisation costs

Each family states the efficiency of its towers, in doublings of arithmetic against a well-shaped ViT.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..runtime.target import Precision
from .space import Space

QUANTISED = 0.1


def score(space: Space, max_image_size: int, precision: Precision) -> NDArray[np.float64]:
    """The score of every candidate, float64 ``[N]``, higher is better; see the module for the formula."""
    blurred = np.log2(max_image_size / space.columns.image_size)
    lost = 0.5 * blurred + (QUANTISED if precision == "int8" else 0)
    return np.asarray(np.log2(space.gflops) + space.columns.efficiency - lost, np.float64)
