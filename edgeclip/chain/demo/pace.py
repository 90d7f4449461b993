"""How many epochs fit the demo's minutes on this machine: a few training steps are timed before anything is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...distillation.config import DistillConfig
    from ...towers.spec import StudentSpec

SECONDS = 180.0  # of bare steps; views, averages and logs take longer. The whole demo: about six minutes
# Epochs, whatever they take: fewer do not keep nine tenths of the teacher (benchmarks/results/demo_epochs.json).
FEWEST = 36
# What the demo selects on two idle cores, and how long a step of it takes there; how long the probe takes anywhere, and
# the rest (data, exports, report) on two idle cores.
USUAL = {"image_size": 64, "patch_size": 16, "width": 256, "layers": 2, "head_width": 64, "mlp_ratio": 4.0}
STEP_SECONDS, PROBE_SECONDS, OTHER_SECONDS = 0.16, 40.0, 70.0
SLOW = 1.5  # times as long: it is said


def paced(config: DistillConfig, spec: StudentSpec, images: int) -> DistillConfig:
    """The same settings with as many epochs as ``SECONDS`` allow, from ``FEWEST`` to those of ``config``.

    Args:
        config: the settings.
        spec: the student.
        images: how many there are to learn from.
    """
    from ...distillation.pace import step_seconds

    return config.model_copy(update={"epochs": _epochs(config, step_seconds(config, spec), images)})


def foretold(config: DistillConfig, images: int) -> str:
    """How long the whole demo takes on this machine, as it is now, in words; told by a student as it selects them.

    Args:
        config: the settings.
        images: how many there are to learn from.
    """
    from ...distillation.pace import OVERHEAD, lasting, step_seconds
    from ...towers.spec import StudentSpec

    each = step_seconds(config, StudentSpec.model_validate({"name": "usual", "vision_cfg": USUAL}))
    slower = max(1.0, each / STEP_SECONDS)
    training = OVERHEAD * each * _steps(config, images) * _epochs(config, each, images)
    forecast = f"the demo takes about {lasting(training + PROBE_SECONDS + OTHER_SECONDS * slower)} on this machine"
    if slower < SLOW:
        return forecast
    return f"{forecast}, which is slow or busy: two idle cores are {slower:.1f} times as fast"


def _steps(config: DistillConfig, images: int) -> int:
    """Of an epoch."""
    return max(1, images // config.batch_size)


def _epochs(config: DistillConfig, each: float, images: int) -> int:
    return max(min(FEWEST, config.epochs), min(config.epochs, int(SECONDS / (each * _steps(config, images)))))
