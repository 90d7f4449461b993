"""The profile file: what a device is, what it was measured to do, and what may be spent on it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field, PrivateAttr, model_validator

from ..base.documents import Count, Document, NonNegative, Part, Positive, Size
from ..runtime.target import Conditions, Device, Precision, Runtime, Target

Kernel = Literal[
    "conv",  # dense, larger than 1 x 1
    "pointwise",  # 1 x 1
    "depthwise",
    "grouped",  # other groups: as many calls
    "linear",  # activations by weights
    "product",  # activations by activations: attention
    "softmax",
    "norm",  # layer, group and batch norms that no convolution takes in
    "gelu",
    "activation",  # the others
    "elementwise",  # residual adds, scales, gates
    "movement",  # transposes, slices, concatenations
    "reduce",  # pooling and means
]
KERNELS: tuple[Kernel, ...] = get_args(Kernel)
Measure = Literal["calls", "gflops", "melems", "params_m"]  # the fields of Work
MEASURES: tuple[Measure, ...] = get_args(Measure)
Flag = Literal["noisy", "throttled", "busy", "incomplete"]


class Work(Part):
    """What all kernels of one kind do for one image, added up."""

    calls: Count
    gflops: NonNegative = 0.0  # 2 x multiply-adds
    melems: NonNegative = 0.0  # millions of activations read and written
    params_m: NonNegative = 0.0  # millions of weights read


class Workload(Part):
    """What one image costs an image tower, kernel by kernel: what latency is composed from."""

    family: str  # "vit", "repvit", ...: towers whose times err alike
    kernels: dict[Kernel, Work]
    params_m: Positive  # millions of parameters
    peak_melems: NonNegative  # millions of activations that the hungriest kernel reads and writes

    @property
    def gflops(self) -> float:
        """2 x multiply-adds of all products and convolutions, billions."""
        return sum(work.gflops for work in self.kernels.values())


class Budget(Part):
    """What may be spent. ``None`` means unlimited."""

    latency_ms: Positive | None = None  # p90 of one image
    memory_mb: Positive | None = None  # peak resident memory of the process that encodes
    size_mb: Positive | None = None  # image tower on disk
    accuracy_drop: Annotated[float, Field(ge=0, le=100)] | None = None  # points of top-1 below the teacher


class Latency(Part):
    """One measured graph. ``relative`` is its p50 over the reference graph's, taken interleaved: drift cancels."""

    name: str
    family: str
    precision: Precision
    gflops: NonNegative
    params_m: Positive
    p50_ms: Positive
    p90_ms: Positive
    spread: NonNegative  # (p90 - p10) / p50 of single calls
    runs: Size
    warmup: Count
    relative: Positive
    composed: Positive  # relative, too: what the cost model's pieces alone add up to


class CostModel(Part):
    """What each kind of kernel costs in one precision, relative to the reference; see ``costmodel.py``."""

    coefficients: dict[Kernel, dict[Measure, NonNegative]]
    constant: NonNegative = 0.0
    families: Annotated[list[str], Field(min_length=1)]  # those that were measured: it speaks for no others
    recipe: str  # how a graph comes to be in this precision
    held_out_error: NonNegative  # mean |predicted - measured| / measured, each graph left out once
    held_out_p90: NonNegative  # nine in ten predictions were at most this far off


class Reference(Part):
    """The graph interleaved with every measurement, and how far the machine drifted meanwhile."""

    name: str
    p50_ms: Positive
    drift: NonNegative  # (slowest round - fastest round) / median round of the reference's p50


class Profile(Document):
    """``profiles/<device>.toml``."""

    FORMAT: ClassVar[str] = "edgeclip-profile"
    VERSION: ClassVar[int] = 2

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    provenance: Literal["measured", "estimated"]
    measured_on: str | None = None  # date
    sources: list[str] = []
    notes: list[str] = []
    flags: list[Flag] = []  # reasons to distrust it
    device: Device
    runtime: Runtime
    budget: Budget = Budget()
    reference: Reference
    before: Conditions | None = None  # when the probe began
    after: Conditions | None = None  # when it ended
    base_memory_mb: Positive | None = None  # of a process that is ready to encode, but for its student
    cost_model: dict[Precision, CostModel]
    latency: list[Latency] = []
    _opened_as: str | None = PrivateAttr(None)

    def __repr__(self) -> str:
        """The device, what ran on it, and how far its predictions are off."""
        errors = ", ".join(f"{name} ±{model.held_out_error:.0%}" for name, model in self.cost_model.items())
        return f"Profile({self.name}: {self.provenance}; {self.device.cpu}, {self.runtime.told}; {errors})"

    def __eq__(self, other: object) -> bool:
        """The same figures, whatever they were opened by."""
        return isinstance(other, Profile) and self.as_data() == other.as_data()

    @property
    def opened_as(self) -> str:
        """The file or the shipped name that it was opened by, for commands that open it again."""
        return self._opened_as or self.name

    @property
    def precisions(self) -> list[Precision]:
        """The precisions this profile can speak for."""
        return list(self.cost_model)

    @property
    def target(self) -> Target:
        """What this profile speaks for."""
        return Target(device=self.device, runtime=self.runtime, precisions=self.precisions, profile=self.name)

    @model_validator(mode="after")
    def _honest(self) -> Profile:
        if not self.cost_model:
            raise ValueError("cost_model: at least one precision is needed")
        if self.provenance == "measured" and not self.latency:
            raise ValueError("provenance is 'measured' but the latency table is empty")
        if self.provenance == "estimated" and not self.sources:
            raise ValueError("provenance is 'estimated' but no sources are named")
        return self
