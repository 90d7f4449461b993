"""Where a student is to run: the machine, and what executes its graph. It flows from the profile to the report."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ..base.documents import Count, NonNegative, Part, Positive

Cores = Annotated[int, Field(ge=1, le=1 << 14)]
Word = Annotated[str, Field(max_length=200)]
Precision = Literal["fp32", "fp16", "int8"]


class Device(Part):
    """The machine, as far as it tells."""

    machine: str  # e.g. "x86_64", "aarch64"
    system: str
    cpu: str
    cores: Cores
    memory_gb: Positive
    features: list[str] = []  # instruction sets that decide the int8 recipe: avx2, avx512_vnni, asimddp, ...
    gpu: str | None = None


class Conditions(Part):
    """The state of a machine, as far as it tells: what is not known is None, never guessed."""

    governor: Word | None = None
    clock_mhz: NonNegative | None = None  # of the first core
    temperature_c: Annotated[float, Field(ge=-100, le=300)] | None = None  # of the hottest zone
    load: NonNegative | None = None  # processes that wanted a core, on average over the last minute
    gpu_clock_mhz: NonNegative | None = None
    throttling: list[Word] | None = None  # what holds the clocks down; empty: nothing
    throttled_times: Count | None = None  # since the machine was started


class Runtime(Part):
    """What executes the graph: an engine, its provider, and so many threads. Profile, figures and report carry it."""

    name: str = "onnxruntime"  # of the engine: see runtime/engines/
    version: str
    provider: str = "CPUExecutionProvider"
    threads: Cores

    @property
    def told(self) -> str:
        """In words: ``onnxruntime 1.32.0 on CPUExecutionProvider, 2 threads``."""
        return f"{self.name} {self.version} on {self.provider}, {self.threads} threads"

    def differs(self, other: Runtime) -> str:
        """What ``other`` is instead, where it is another engine or provider; empty where it is this one."""
        if (self.name, self.provider) == (other.name, other.provider):
            return ""
        return f"{other.name} on {other.provider} ran, not {self.name} on {self.provider}"


class Target(Part):
    """What a student is chosen, exported and judged for. A profile, and what follows from it, speaks for it alone."""

    device: Device
    runtime: Runtime
    precisions: Annotated[list[Precision], Field(min_length=1)]  # those that the runtime has, and that may pay there
    profile: str | None = None  # whose target it is; None: of the machine that something was made on
