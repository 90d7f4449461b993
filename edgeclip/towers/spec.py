"""The student spec: a stock open_clip config, the precision it will be deployed in, and what it should cost."""

from __future__ import annotations

from typing import Any, ClassVar

from ..device.schema import Budget, Workload
from ..documents import Document, Positive
from ..runtime.target import Precision, Target


class StudentSpec(Document):
    """An image tower that open_clip can build from ``vision_cfg`` alone."""

    FORMAT: ClassVar[str] = "edgeclip-student"
    VERSION: ClassVar[int] = 3

    name: str
    vision_cfg: dict[str, Any]  # open_clip's CLIPVisionCfg fields, ``image_size`` among them
    precision: Precision = "fp32"
    workload: Workload
    target: Target | None = None  # what it was chosen for
    budget: Budget = Budget()  # what it was chosen to meet
    predicted_ms: Positive | None = None  # p50 of one image, by the target's profile
    predicted_size_mb: Positive | None = None  # the image tower's file
    predicted_memory_mb: Positive | None = None  # peak of a process that encodes one image at a time
    measured_ms: Positive | None = None  # p50 of its own untrained graph on the device, scaled as predictions are
    extrapolated: bool = False  # beyond the largest tower that the profile measured: the prediction is less sure
    score: float | None = None  # expected accuracy rank, higher is better; see prior.py
    trial_top1: float | None = None  # zero-shot top-1 after a short distillation, where students were tried so

    @property
    def image_size(self) -> int:
        """Side of the square input, in pixels."""
        return int(self.vision_cfg["image_size"])
