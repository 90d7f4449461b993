"""Reports side by side: devices, variants, releases. The first is the baseline; what got worse is marked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .schema import Report, Row

Value = Callable[[Row], float | None]
SAME_MACHINE = ("machine", "cpu", "cores", "gpu", "system")


@dataclass(frozen=True)
class Metric:
    """A figure of a row. ``device``: it means the same only on one device; ``worse`` gets a fraction or points."""

    name: str
    value: Value
    digits: int
    higher: bool = False
    device: bool = True


@dataclass(frozen=True)
class Comparison:
    """One figure of one stage in every report; ``regressed`` are the numbers of reports in which it is worse."""

    stage: str
    metric: str
    values: list[float | None]
    digits: int
    regressed: list[int]


METRICS = (
    Metric("top-1, %", lambda row: None if row.top1 is None else 100 * row.top1, 1, higher=True, device=False),
    Metric("size, MB", lambda row: row.size_bytes / 1e6, 2, device=False),
    Metric("p50, ms", lambda row: row.timing.p50_ms if row.timing else None, 3),
    Metric("p90, ms", lambda row: row.timing.p90_ms if row.timing else None, 3),
    Metric("p99, ms", lambda row: row.timing.p99_ms if row.timing else None, 3),
    Metric("file to embedding, ms", lambda row: row.end_to_end.total_ms if row.end_to_end else None, 2),
    Metric("load, ms", lambda row: row.load_ms, 0),
    Metric("first inference, ms", lambda row: row.first_ms, 1),
    Metric("images/s, batch 32", lambda row: row.throughput.get("32"), 0, higher=True),
    Metric("peak memory, MB", lambda row: row.peak_memory_mb, 0),
    Metric("energy, mJ", lambda row: row.energy_mj, 1),
)
JUDGED = ("top-1, %", "size, MB", "p50, ms", "p90, ms", "peak memory, MB", "energy, mJ")  # the others are too noisy


def compare(reports: Sequence[Report], *, worse_percent: float, lost_points: float) -> list[Comparison]:
    """Every figure of every stage of the first report, beside those of the others.

    A figure has regressed where it is worse than the baseline's by more than ``worse_percent`` (top-1: by more than
    ``lost_points``). Latency, memory and energy are judged between reports of one machine alone; latency there is first
    divided by the pace of the reference graph, where both reports have it. A stage that
    failed or is gone has regressed.
    """
    found = []
    for row in reports[0].rows:
        rows = [next((other for other in report.rows if other.stage == row.stage), None) for report in reports]
        gone = [number for number, other in enumerate(rows) if other is None or (other.failed and not row.failed)]
        found.append(Comparison(row.stage, "measured", [float(r is not None and not r.failed) for r in rows], 0, gone))
        for metric in METRICS:
            values = [metric.value(other) if other else None for other in rows]
            if any(value is not None for value in values):
                worse = _worse(metric, values, reports, worse_percent, lost_points) if metric.name in JUDGED else []
                found.append(Comparison(row.stage, metric.name, values, metric.digits, worse))
    return found


def _worse(
    metric: Metric, values: Sequence[float | None], reports: Sequence[Report], percent: float, points: float
) -> list[int]:
    base = values[0]
    if base is None:
        return []
    worse = []
    for number, value in enumerate(values[1:], 1):
        if value is None or (metric.device and not same_machine(reports[0], reports[number])):
            continue
        pace = _pace(reports[0], reports[number]) if metric.name.endswith("ms") else 1.0
        loss = (base - value) if metric.higher else (value / pace - base)
        if loss > (points if metric.name.startswith("top-1") else abs(base) * percent / 100):
            worse.append(number)
    return worse


def same_machine(one: Report, other: Report) -> bool:
    """Do both reports speak of the same kind of machine, with as many threads?"""
    alike = all(one.device.get(name) == other.device.get(name) for name in SAME_MACHINE)
    return alike and _executed(one) == _executed(other)


def _executed(report: Report) -> tuple[object, ...]:
    """Engine, provider and threads. Another version of the engine is what people compare."""
    if report.runtime is None:  # of before version 5
        return (None, None, report.profile.get("threads"))
    return (report.runtime.name, report.runtime.provider, report.runtime.threads)


def _pace(one: Report, other: Report) -> float:
    """How much slower the machine was for the other report, by the reference graph."""
    if one.reference and other.reference and one.reference.graph == other.reference.graph:
        return other.reference.p50_ms / one.reference.p50_ms
    return 1.0


def comparison_cells(found: Comparison) -> list[str]:
    """A comparison as text: stage, figure, and a value a report, the worse ones marked."""
    cells = []
    for number, value in enumerate(found.values):
        if found.metric == "measured":
            shown = "yes" if value else "no"
        else:
            shown = "-" if value is None else f"{value:.{found.digits}f}"
        cells.append(shown + (" WORSE" if number in found.regressed else ""))
    return [found.stage, found.metric, *cells]
