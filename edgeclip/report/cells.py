"""A report's rows and lines as text: the same words in the terminal, in Markdown and on the page."""

from __future__ import annotations

from .schema import Line, Report, Row

MARKS = {True: "met", False: "MISSED"}
CHAIN_COLUMNS = (
    "stage",
    "top-1",
    "top-5",
    "cosine mean",
    "cosine worst",
    "MB",
    "p50 ms",
    "p90 ms",
    "p99 ms",
    "predicted",
)
BUDGET_COLUMNS = ("line", "limit", "measured", "")


def verdict(report: Report) -> str:
    """One line: passed or not, and what is recommended."""
    missed = sum(not line.met for line in report.budget)
    what = f"passed: all {len(report.budget)} lines met" if not missed else f"failed: {missed} line(s) missed"
    return f"{what}; use {report.recommended}"


def chain_cells(row: Row) -> list[str]:
    """One row of the chain as text."""
    time = row.timing
    return [
        row.stage + (" (recommended)" if row.recommended else ""),
        f"{row.top1:.1%}",
        f"{row.top5:.1%}",
        _number(row.cosine_mean, 6),
        _number(row.cosine_worst, 6),
        f"{row.size_bytes / 1e6:.2f}",
        f"{time.p50_ms:.3f}",
        f"{time.p90_ms:.3f}",
        f"{time.p99_ms:.3f}",
        _number(row.predicted_ms, 3),
    ]


def budget_cells(line: Line) -> list[str]:
    """One line of the budget as text."""
    sign = "<=" if line.better == "lower" else ">="
    digits = 6 if line.unit == "cosine" else 2
    limit, measured = f"{line.limit:.{digits}f}".rstrip("0").rstrip("."), f"{line.measured:.{digits}f}"
    return [line.name, f"{sign} {limit} {line.unit}", f"{measured} {line.unit}", MARKS[line.met]]


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
