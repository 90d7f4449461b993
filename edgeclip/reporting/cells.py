"""A report's rows and lines as text: the same words in the terminal, in Markdown and on the page."""

from __future__ import annotations

from ..measurement.schema import Row
from .schema import ALWAYS, Criterion, Next, Report

MET, MISSED, NOT_MEASURED, NOT_DECIDED = "met", "MISSED", "NOT MEASURED", "NOT DECIDED"
CHAIN_COLUMNS = (
    "stage",
    "top-1",
    "mean per class",
    "top-5",
    "answers that flip",
    "cosine, mean",
    "worst",
    "MB",
    "memory MB",
    "p50 ms",
    "p90 ms",
    "p99 ms",
)
DEVICE_COLUMNS = (
    "stage",
    "predicted p50 ms",
    "load ms",
    "first ms",
    "file to embedding ms",
    "decode",
    "preprocess",
    "images/s, batch 1",
    "8",
    "32",
    "energy mJ",
)
CRITERIA_COLUMNS = ("criterion", "limit", "measured", "")


def chance_cells(report: Report) -> list[list[str]]:
    """Below the chain: what no look at the images takes; nothing where there were none."""
    data = report.dataset
    return [["chance", _percent(data.chance), *["-"] * (len(CHAIN_COLUMNS) - 2)]] if data else []


def dataset_words(report: Report) -> str:
    """What accuracy is of; empty where none was measured."""
    data = report.dataset
    if data is None:
        return ""
    return f"accuracy of {data.images} images in {data.classes} classes, {data.name}; chance {data.chance:.1%}"


def verdict(report: Report) -> str:
    """One line: met, missed or unknown, and what is recommended."""
    marks = [mark(symbol) for symbol in report.criteria]
    missed, unmeasured, undecided = (marks.count(symbol) for symbol in (MISSED, NOT_MEASURED, NOT_DECIDED))
    parts = [f"{missed} of {len(report.criteria)} criteria missed"] if missed else []
    parts += [f"{unmeasured} not measured"] if unmeasured else []
    parts += [f"{undecided} not decided"] if undecided else []
    if not parts and all(symbol.kind in ALWAYS for symbol in report.criteria):
        return f"no verdict: no limit is set (--latency-ms, …); recommended: {report.recommended}"
    what = f"failed: {', '.join(parts)}" if missed else f"no verdict: {', '.join(parts)}" if parts else ""
    return f"{what or f'passed: all {len(report.criteria)} criteria met'}; use {report.recommended}"


def mark(line: Criterion) -> str:
    """What became of a criterion."""
    if line.met is None:
        return NOT_MEASURED if line.measured is None else NOT_DECIDED
    return MET if line.met else MISSED


def chain_cells(row: Row) -> list[str]:
    """One row of the chain as text."""
    time = row.timing
    mark = " (recommended)" if row.recommended else ""
    return [
        row.stage + mark + (", on the host" if row.where == "host" else "") + (", FAILED" if row.failed else ""),
        _percent(row.top1),
        _percent(row.mean_per_class),
        _percent(row.top5),
        _flips(row),
        _number(row.cosine_mean, 6),
        _number(row.cosine_worst, 6),
        _number(row.size_bytes / 1e6 if row.size_bytes else None, 2),
        _number(row.peak_memory_mb, 0),
        *(_number(getattr(time, f"{cut}_ms", None), 3) for cut in ("p50", "p90", "p99")),
    ]


def device_cells(row: Row) -> list[str]:
    """What a row was predicted to take, and what it costs besides the latency of its tower."""
    end = row.end_to_end
    return [
        row.stage,
        _number(row.predicted_ms, 3),
        _number(row.load_ms, 0),
        _number(row.first_ms, 1),
        *(_number(getattr(end, f"{part}_ms", None), 2) for part in ("total", "decode", "preprocess")),
        *(_number(row.throughput.get(size), 0) for size in ("1", "8", "32")),
        "not measured" if row.energy_mj is None else f"{row.energy_mj:.1f}",
    ]


def _flips(row: Row) -> str:
    if row.flip_rate is None or row.flip_interval is None:
        return "-"
    low, high = row.flip_interval
    return f"{row.flip_rate:.1%} ({100 * low:.1f}-{100 * high:.1f})"


def criterion_cells(line: Criterion) -> list[str]:
    """One criterion as text."""
    sign = "<=" if line.better == "lower" else ">="
    digits = 6 if line.unit == "cosine" else 2
    limit = f"{line.limit:.{digits}f}".rstrip("0").rstrip(".")
    measured = "not measured" if line.measured is None else f"{line.measured:.{digits}f} {line.unit}"
    if line.interval:
        measured += f" ({line.interval[0]:.1f} to {line.interval[1]:.1f})"
    return [line.name, f"{sign} {limit} {line.unit}", measured, mark(line)]


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def next_words(step: Next) -> str:
    """A suggestion as a sentence with its command."""
    return f"{step.what}, {step.known} {step.p50_ms:.3g} ms at p50: {step.command}"


def facts_cells(report: Report) -> list[tuple[str, str]]:
    """Device, conditions, profile and software, as names and values."""
    profile, reference = report.profile, report.reference
    facts = [(name.replace("_", " "), _shown(value)) for name, value in report.device if value is not None]
    for name, before in report.before:
        after = getattr(report.after, name)
        if before is not None or after is not None:
            facts.append((name.replace("_", " "), f"{_shown(before)} before, {_shown(after)} after"))
    if reference:
        pace = f"{reference.p50_ms:.3g} ms, drifted by {reference.drift:+.1%}"
        if reference.profile_ms:
            pace += f"; {reference.p50_ms / reference.profile_ms:.2f} times what it took for the profile"
        facts.append(("reference graph", f"{reference.graph}: {pace}"))
    if report.runtime:
        facts.append(("runtime", report.runtime.told))
    facts.append(("profile", f"{profile.name} ({profile.provenance})"))
    return facts + list(report.software.items())


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "?" if value is None else str(value)
