"""Reports side by side: devices, variants, releases. The first is the baseline; whatever got worse is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..base.errors import EdgeclipError
from ..measurement.schema import Row
from .cells import MET, mark
from .schema import Report

Value = float | str | None
SAME_MACHINE = ("machine", "cpu", "cores", "gpu", "system")
WHOLE = "report"  # the stage of what is no stage's
ANSWERS = "accuracy"  # of one data set alone
NOTHING = "-"


@dataclass(frozen=True)
class Metric:
    """A figure of a row, and what makes it worse.

    Args:
        name: in the table.
        value: of a row.
        digits: shown.
        higher: more is better.
        means: between which reports it can be compared: of one ``device``, of one data set (``accuracy``), or of any.
        judged: whether a worse value counts; the others are too noisy, and only their vanishing does.
        points: what counts is a difference (of points), not a percentage.
    """

    name: str
    value: Callable[[Row], float | None]
    digits: int
    higher: bool = False
    means: str = "device"
    judged: bool = True
    points: bool = False


@dataclass(frozen=True)
class Comparison:
    """One figure of one stage in every report; ``regressed`` are the numbers of reports in which it is worse."""

    stage: str
    metric: str
    values: Sequence[Value]
    digits: int
    regressed: list[int]


def _percent(name: str) -> Callable[[Row], float | None]:
    def value(row: Row) -> float | None:
        fraction = getattr(row, name)
        return None if fraction is None else 100 * fraction

    return value


def _timing(name: str) -> Callable[[Row], float | None]:
    return lambda row: getattr(row.timing, name) if row.timing else None


METRICS = (
    Metric("top-1, %", _percent("top1"), 1, higher=True, means=ANSWERS, points=True),
    Metric("mean per class, %", _percent("mean_per_class"), 1, higher=True, means=ANSWERS, points=True),
    Metric("answers that flip, %", _percent("flip_rate"), 1, means=ANSWERS, points=True),
    Metric("calibration error, %", _percent("calibration_error"), 1, means=ANSWERS, points=True),
    Metric("size, MB", lambda row: row.size_bytes / 1e6, 2, means="any"),
    Metric("p50, ms", _timing("p50_ms"), 3),
    Metric("p90, ms", _timing("p90_ms"), 3),
    Metric("p99, ms", _timing("p99_ms"), 3, judged=False),
    Metric("file to embedding, ms", lambda r: r.end_to_end.total_ms if r.end_to_end else None, 2, judged=False),
    Metric("load, ms", lambda row: row.load_ms, 0, judged=False),
    Metric("first inference, ms", lambda row: row.first_ms, 1, judged=False),
    Metric("images/s, batch 32", lambda row: row.throughput.get("32"), 0, higher=True, judged=False),
    Metric("peak memory, MB", lambda row: row.peak_memory_mb, 0),
    Metric("energy, mJ", lambda row: row.energy_mj, 1),
)


def compare(
    reports: Sequence[Report],
    *,
    worse_percent: float,
    lost_points: float,
    other_device: bool = False,
    other_dataset: bool = False,
) -> list[Comparison]:
    """Every figure of every stage of the first report, and of each as a whole, beside those of the others.

    A figure has regressed where it is worse than the baseline's by more than ``worse_percent`` (accuracy: by more than
    ``lost_points``), or where the baseline has it and the other has not. Latency is first divided by the pace of the
    reference graph, where both reports have it; that the reference became slower is a regression of its own.

    Args:
        reports: the baseline first.
        worse_percent: of times, sizes, memory and energy.
        lost_points: of top-1 and what else is counted in answers.
        other_device: reports of other machines, engines, providers or thread counts are shown beside each other; what
            a device gives is then not judged.
        other_dataset: likewise of other data sets.

    Raises:
        EdgeclipError: a report is of another device or data set than the first, and nothing says that it is meant so.
    """
    kinds = {"any", *([] if other_device else ["device"]), *([] if other_dataset else [ANSWERS])}
    _refuse_others(reports, kinds)
    limits = (worse_percent, lost_points)
    comparisons = list(_whole(reports, kinds, worse_percent))
    for stage in dict.fromkeys(row.stage for report in reports for row in report.rows):
        rows = [next((row for row in report.rows if row.stage == stage), None) for report in reports]
        comparisons.append(_ran(stage, rows))
        for metric in METRICS:
            values = [metric.value(row) if row else None for row in rows]
            if all(value is None for value in values):
                continue
            numbers = [n for n, row in enumerate(rows) if n and row and rows[0] and metric.means in kinds]
            worse = [n for n in numbers if _worse(metric, values[0], values[n], _pace(reports, n, metric), limits)]
            comparisons.append(Comparison(stage, metric.name, values, metric.digits, worse))
    return comparisons


def _refuse_others(reports: Sequence[Report], kinds: set[str]) -> None:
    first = reports[0]
    for report in reports[1:]:
        if "device" in kinds and (differs := _other_device(first, report)):
            raise EdgeclipError(
                f"{report.name}, {report.created}: {differs}: only reports of one device compare in latency and memory;"
                " --other-device compares the rest"
            )
        if ANSWERS in kinds and _content(first) != _content(report):
            sets = " and ".join(_dataset(shown) for shown in (first, report))
            raise EdgeclipError(f"accuracies of {sets} do not compare: --other-dataset compares the rest")


def _other_device(first: Report, other: Report) -> str:
    """What another machine, engine, provider or number of threads it is; empty where all are the same."""
    for name in SAME_MACHINE:
        if (its := getattr(other.device, name)) != (firsts := getattr(first.device, name)):
            return f"its {name} is {its}, the first's {firsts}"
    ran, runs = _executed(first), _executed(other)
    return "" if ran == runs else f"it ran on {runs}, the first on {ran}"


def _executed(report: Report) -> str:
    """Engine, provider and threads. Another version of the engine is what people compare."""
    if report.runtime is None:  # of before version 5
        return f"{report.profile.threads} threads"
    return f"{report.runtime.name} on {report.runtime.provider} with {report.runtime.threads} threads"


def _dataset(report: Report) -> str:
    data = report.dataset
    return f"{data.name} ({data.images} images, {data.classes} classes)" if data else "no images"


def _content(report: Report) -> str | None:
    return report.dataset.sha256 if report.dataset else None


def _whole(reports: Sequence[Report], kinds: set[str], percent: float) -> Iterator[Comparison]:
    """What is of no stage: the verdict, the criteria, what was verified, what is recommended, the machine's pace."""
    order = ("met", "unknown", "missed")
    verdicts: list[Value] = [report.verdict for report in reports]
    yield _line("verdict", verdicts, lambda base, value: order.index(value) > order.index(base))
    for name in dict.fromkeys(criterion.name for report in reports for criterion in report.criteria):
        marks: list[Value] = [next((mark(c) for c in r.criteria if c.name == name), None) for r in reports]
        yield _line(name, marks, lambda base, value: base == MET != value)
    yield _line("recommended", [report.recommended for report in reports], lambda base, value: base != value)
    parts = [{part.part for part in report.verified if part.ok} for report in reports]
    verified: list[Value] = [f"{len(good)} of {len(r.verified)}" for good, r in zip(parts, reports, strict=True)]
    lost = [number for number, good in enumerate(parts) if parts[0] - good]
    yield Comparison(WHOLE, "parts verified", verified, 0, lost)
    pace: list[Value] = [report.reference.p50_ms if report.reference else None for report in reports]
    if "device" in kinds and any(pace):
        worse = [n for n in range(1, len(pace)) if _slower(pace[0], pace[n], percent)]
        yield Comparison(WHOLE, "reference graph, p50 ms", pace, 3, worse)
    for what, value_of in (("device", _executed), ("data set", _dataset)):
        shown: list[Value] = [value_of(report) for report in reports]
        if len(set(shown)) > 1:  # it was asked for
            yield Comparison(WHOLE, what, shown, 0, [])


def _line(name: str, values: Sequence[Value], worse: Callable[[Any, Any], bool]) -> Comparison:
    numbers = [n for n, value in enumerate(values) if n and values[0] is not None and worse(values[0], value)]
    return Comparison(WHOLE, name, values, 0, numbers)


def _slower(base: Value, value: Value, percent: float) -> bool:
    if not isinstance(base, float) or not isinstance(value, float):
        return isinstance(base, float)
    return value > base * (1 + percent / 100)


def _ran(stage: str, rows: Sequence[Row | None]) -> Comparison:
    """Whether a stage is there, and ran to its end: one that is gone, or failed anew, has regressed."""
    states: list[Value] = [NOTHING if row is None else "failed" if row.failed else "yes" for row in rows]
    worse = [n for n, state in enumerate(states) if n and state != states[0] and state != "yes"]
    return Comparison(stage, "measured", states, 0, worse)


def _worse(metric: Metric, base: float | None, value: float | None, pace: float, limits: tuple[float, float]) -> bool:
    """Whether a value is worse than the baseline's by more than the limits, or is gone."""
    if base is None or value is None:
        return base is not None
    percent, points = limits
    loss = (base - value) if metric.higher else (value / pace - base)
    return metric.judged and loss > (points if metric.points else abs(base) * percent / 100)


def _pace(reports: Sequence[Report], number: int, metric: Metric) -> float:
    """How much slower the machine was for another report than for the first, by the reference graph."""
    baseline, other = reports[0].reference, reports[number].reference
    if not metric.name.endswith("ms") or not baseline or not other or baseline.graph != other.graph:
        return 1.0
    return other.p50_ms / baseline.p50_ms


def comparison_cells(comparison: Comparison) -> list[str]:
    """A comparison as text: stage, figure, and a value a report, the worse ones marked."""
    cells = []
    for number, value in enumerate(comparison.values):
        shown = NOTHING if value is None else value if isinstance(value, str) else f"{value:.{comparison.digits}f}"
        cells.append(shown + (" WORSE" if number in comparison.regressed else ""))
    return [comparison.stage, comparison.metric, *cells]
