"""The student spec: a stock open_clip config, the precision it will be deployed in, and what it should cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import model_validator

from ..base.documents import Document, Positive, read_document
from ..base.errors import EdgeclipError, FormatError
from ..profiling.schema import Budget, Workload
from ..runtime.target import Precision, Target
from .space import name_of, workload_of
from .timmtowers import timm_vision_cfg

SIDE = 224  # pixels, of a timm tower whose image size nobody says
# What a number of open_clip's CLIPVisionCfg may be.
BOUNDS: dict[str, tuple[float, float]] = {
    "image_size": (1, 4096),
    "patch_size": (1, 512),
    "layers": (1, 512),
    "width": (1, 1 << 16),
    "head_width": (1, 1 << 12),
    "mlp_ratio": (0.01, 64),
    "ls_init_value": (0, 1),
    "patch_dropout": (0, 0.99),
    "attn_pooler_heads": (1, 1 << 10),
    "timm_drop": (0, 0.99),
    "timm_drop_path": (0, 0.99),
}
MAY_BE_NONE = ("ls_init_value", "timm_drop_path")
ALIKE = 0.02  # how far a workload may be off what is counted here: towers.csv is rounded


class StudentSpec(Document):
    """An image tower that open_clip can build from ``vision_cfg`` alone."""

    FORMAT: ClassVar[str] = "edgeclip-student"
    VERSION: ClassVar[int] = 3
    BY_HAND: ClassVar[bool] = True

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

    def __repr__(self) -> str:
        """The tower, its precision, and what it is expected to take."""
        took = self.measured_ms or self.predicted_ms
        how = "measured untrained" if self.measured_ms else "predicted"
        return f"StudentSpec({self.name}, {self.precision}{f', {took:.2f} ms {how}' if took else ''})"

    @property
    def image_size(self) -> int:
        """Side of the square input, in pixels."""
        return int(self.vision_cfg["image_size"])

    @model_validator(mode="before")
    @classmethod
    def _by_hand(cls, data: Any) -> Any:
        """A spec that a person writes holds ``vision_cfg`` or ``timm``, a model's name; what it costs is counted."""
        if not isinstance(data, dict):
            return data
        data = dict(data)
        if isinstance(tower := data.pop("timm", None), str) and "vision_cfg" not in data:
            data["vision_cfg"] = timm_vision_cfg(tower, data.pop("image_size", SIDE))
        config = data.get("vision_cfg")
        if not isinstance(config, dict):
            return data
        _check_bounds(config)
        try:
            if "workload" not in data:
                data["workload"] = workload_of(config)
            if "name" not in data:
                data["name"] = name_of(config)
        except (EdgeclipError, KeyError, TypeError) as error:
            raise ValueError(str(error)) from error
        return data


def read_spec(path: Path) -> StudentSpec:
    """Read a spec, and hold its workload against its ``vision_cfg``.

    Raises:
        EdgeclipError: the file is missing.
        FormatError: it has faults.
    """
    spec = read_document(path, StudentSpec)
    try:
        counted = workload_of(spec.vision_cfg)
    except EdgeclipError:
        return spec  # a tower that nobody counts: what it costs is known by who wrote it
    for what, written, given in (
        ("params_m", spec.workload.params_m, counted.params_m),
        ("gflops", spec.workload.gflops, counted.gflops),
    ):
        if abs(written - given) > ALIKE * given:
            raise FormatError(
                f"{path}: workload: {what} is {written:.4g}, its vision_cfg has {given:.4g}: leave workload out"
            )
    return spec


def _check_bounds(config: dict[str, Any]) -> None:
    for name, (low, high) in BOUNDS.items():
        given = config.get(name, low)
        if given is None and name in MAY_BE_NONE:
            continue
        for value in given if isinstance(given, list | tuple) else [given]:
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise ValueError(f"vision_cfg.{name}: {value!r:.40} is not from {low:g} to {high:g}")
    if "image_size" not in config:
        raise ValueError(f"vision_cfg.image_size: missing; the side of the square input, {SIDE} for one")
