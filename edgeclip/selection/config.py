"""How a student is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..profiling.schema import Budget
from ..runtime.target import Precision


@dataclass(frozen=True)
class SelectConfig:
    """How the best student for a device is chosen.

    Args:
        budget: what it may cost; None: the profile's own budget, which must then limit something. ``Budget()`` limits
            nothing.
        precisions: those to choose from; all that the profile has when empty.
        max_image_size: the largest input, px; the teacher's when None.
        measure: whether the best candidates are built and timed, where this machine is the profile's device.
    """

    budget: Budget | None = None
    precisions: Sequence[Precision] = ()
    max_image_size: int | None = None
    measure: bool = True
