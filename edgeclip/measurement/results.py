"""What a device tells of a measurement and of a check: plain records, which cross from its process as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..device.machine import Machine
from ..device.sensors import SensorReadings
from ..runtime.engines.protocol import HotSpots
from ..runtime.worker import EmbeddedImages, FileToEmbedding, Opened


@dataclass(frozen=True)
class EnergyPerImage:
    """What one image takes, idle power included."""

    millijoules_per_image: float
    sensor: str


@dataclass(frozen=True)
class SustainedRun:
    """Running without a break: the median of each second, and that of the last window over that of the first."""

    seconds: float
    window_seconds: float  # of the beginning and the end that are compared
    last_over_first: float
    each_second: list[tuple[float, float]]  # seconds since the start, p50 in ms
    after: SensorReadings


@dataclass
class TowerResult:
    """What was measured of a tower; None: it was not, or it failed before."""

    failed: str | None = None
    opened: Opened | None = None
    latency: dict[str, float] | None = None  # percentiles of ``samples_ms``, by their names
    samples_ms: list[float] = field(default_factory=list)  # in order
    turns: list[tuple[float, float]] = field(default_factory=list)  # seconds since the start, p50 of that turn
    throughput: dict[str, float] = field(default_factory=dict)  # images a second, by batch size
    end_to_end: FileToEmbedding | None = None
    hot_spots: HotSpots | None = None
    embeds: EmbeddedImages | None = None
    energy: EnergyPerImage | None = None
    sustained: SustainedRun | None = None


@dataclass(frozen=True)
class BenchResult:
    """What one machine measured of several towers in turns."""

    rows: dict[str, TowerResult]  # by the name of the report's row
    reference: TowerResult | None
    rule: str  # how latency was measured
    before: SensorReadings
    after: SensorReadings
    machine: Machine


@dataclass(frozen=True)
class GoldenOutputs:
    """Which towers gave their outputs for a bundle's recorded inputs; the outputs are files beside it."""

    towers: list[str]  # that were tried: "text" and precisions
    failed: dict[str, str]  # why, by tower; "bundle": none could be tried
    left_out: list[str]  # variants that the engine does not read, and why
