"""How many epochs fit the demo's minutes on this machine: a few training steps are timed before anything is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..distill.config import DistillConfig
    from ..towers.spec import StudentSpec

SECONDS = 100.0  # of bare steps; views, averages and logs take half as long again. The whole demo: under six minutes
FEWEST = 12  # epochs: less teaches too little to be worth looking at


def paced(config: DistillConfig, spec: StudentSpec, images: int) -> DistillConfig:
    """The same settings with as many epochs as ``SECONDS`` allow, at most those of ``config``.

    Args:
        config: the settings.
        spec: the student.
        images: how many there are to learn from.
    """
    from ..distill.pace import step_seconds

    each = step_seconds(config, spec) * max(1, images // config.batch_size)
    epochs = max(FEWEST, min(config.epochs, int(SECONDS / each)))
    return config.model_copy(update={"epochs": epochs})
