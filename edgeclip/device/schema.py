"""The profile file: what a device is, what it was measured to do, and what may be spent on it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from ..files import Document, Part

Precision = Literal["fp32", "fp16", "int8"]
Feature = Literal["linear_gflops", "attention_gflops", "elementwise_melems", "params_m", "depth", "constant"]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Workload(Part):
    """What one image costs an image tower: the features from which latency is predicted."""

    family: str  # "vit" or "conv"
    linear_gflops: NonNegative  # dense matrix products and convolutions; 2 x multiply-adds
    attention_gflops: NonNegative  # activation x activation products
    elementwise_melems: NonNegative  # millions of elements through norms, softmax, activations, residual adds
    depth: Annotated[int, Field(ge=0)]  # blocks
    tokens: Annotated[int, Field(ge=1)]  # sequence length, or the last feature map's positions
    params_m: Positive  # millions of parameters


class Device(Part):
    """The machine, as far as it tells."""

    machine: str  # e.g. "x86_64", "aarch64"
    system: str
    cpu: str
    cores: Annotated[int, Field(ge=1)]
    memory_gb: Positive
    features: list[str] = []  # instruction sets that decide the int8 recipe: avx2, avx512_vnni, asimddp, ...
    gpu: str | None = None


class Runtime(Part):
    """What executes the graph. A profile speaks for this runtime, provider and thread count alone."""

    name: str = "onnxruntime"
    version: str
    provider: str = "CPUExecutionProvider"
    threads: Annotated[int, Field(ge=1)]


class Budget(Part):
    """What may be spent. ``None`` means unlimited."""

    latency_ms: Positive | None = None  # p90 of one image
    memory_mb: Positive | None = None  # peak resident memory of the process that encodes
    size_mb: Positive | None = None  # image tower on disk
    accuracy_drop: NonNegative | None = None  # points of top-1 below the teacher


class Latency(Part):
    """One measured graph. ``relative`` is its p50 over the reference graph's, taken interleaved: drift cancels."""

    name: str
    precision: Precision
    workload: Workload
    p50_ms: Positive
    p90_ms: Positive
    spread: NonNegative  # (p90 - p10) / p50
    runs: Annotated[int, Field(ge=1)]
    warmup: Annotated[int, Field(ge=0)]
    relative: Positive


class CostModel(Part):
    """``ms = reference.p50_ms * sum(coefficient * feature)`` for one precision; see ``costmodel.py``."""

    coefficients: dict[Feature, NonNegative]
    held_out_error: NonNegative  # mean |predicted - measured| / measured, leave-one-out


class Reference(Part):
    """The graph interleaved with every measurement, and how far the machine drifted meanwhile."""

    name: str
    p50_ms: Positive
    drift: NonNegative  # (slowest round - fastest round) / median round of the reference's p50


class Profile(Document):
    """``profiles/<device>.toml``."""

    FORMAT: ClassVar[str] = "edgeclip-profile"

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    provenance: Literal["measured", "estimated"]
    measured_on: str | None = None  # date
    sources: list[str] = []
    notes: list[str] = []
    device: Device
    runtime: Runtime
    budget: Budget = Budget()
    reference: Reference
    cost_model: dict[Precision, CostModel]
    latency: list[Latency] = []

    @property
    def precisions(self) -> list[Precision]:
        """The precisions this profile can speak for."""
        return list(self.cost_model)

    @model_validator(mode="after")
    def _honest(self) -> Profile:
        if not self.cost_model:
            raise ValueError("cost_model: at least one precision is needed")
        if self.provenance == "measured" and not self.latency:
            raise ValueError("provenance is 'measured' but the latency table is empty")
        if self.provenance == "estimated" and not self.sources:
            raise ValueError("provenance is 'estimated' but no sources are named")
        return self
