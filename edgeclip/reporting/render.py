"""The views of a report: a table for the terminal, Markdown for a pull request, one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Group
from rich.table import Table
from rich.text import Text

from ..base.files import write_text
from ..base.visible import visible
from .cells import (
    CHAIN_COLUMNS,
    CRITERIA_COLUMNS,
    DEVICE_COLUMNS,
    chain_cells,
    chance_cells,
    criterion_cells,
    dataset_words,
    device_cells,
    next_words,
    verdict,
)
from .compare import Comparison, comparison_cells
from .page import html
from .sanity import headline
from .schema import Report


def write_report(report: Report, folder: Path) -> None:
    """Write ``report.json``, ``report.md`` and ``report.html`` into ``folder``, each atomically."""
    report.save(folder / "report.json")
    write_text(folder / "report.md", markdown(report))
    write_text(folder / "report.html", html(report))


def table(report: Report) -> Group:
    """The chain, the budget and the verdict, for a terminal."""
    chain = Table(title=Text(f"{report.name}: the chain"), title_justify="left")
    for name in CHAIN_COLUMNS:
        chain.add_column(name, justify="left" if name == "stage" else "right")
    for row in report.rows:
        chain.add_row(*map(Text, chain_cells(row)), style="bold" if row.recommended else None)
    for cells in chance_cells(report):
        chain.add_row(*map(Text, cells), style="dim")
    chain.caption = Text(dataset_words(report))
    chain.caption_justify = "left"
    criteria = Table(title="criteria", title_justify="left")
    for name in CRITERIA_COLUMNS:
        criteria.add_column(name, justify="left" if name in ("criterion", "") else "right")
    for line in report.criteria:
        criteria.add_row(*map(Text, criterion_cells(line)), style=None if line.met else "red")
    notes = [Text(verdict(report), style="bold green" if report.verdict == "met" else "bold red")]
    notes = [*(Text(f"caution: {words}", style="yellow") for words in report.cautions), *notes]
    doubt = [Text(words, style="bold red") for words in [headline(report.criteria)] if words]
    return Group(*doubt, chain, criteria, *notes, *(Text(f"try: {words}") for words in _to_try(report)))


def markdown(report: Report) -> str:
    """Verdict, criteria and chain as Markdown tables; what comes from outside cannot break out of a cell."""
    parts = [
        f"# {_cell(report.name)}: {_cell(verdict(report))}",
        _rows(CRITERIA_COLUMNS, map(criterion_cells, report.criteria)),
    ]
    parts.append(_rows(CHAIN_COLUMNS, [*map(chain_cells, report.rows), *chance_cells(report)]))
    there = [row for row in report.rows if row.where == "device"]
    parts.append(_rows(DEVICE_COLUMNS, map(device_cells, there)))
    parts += [f"- {_cell(row.stage)} failed: {_cell(row.failed)}" for row in report.rows if row.failed]
    parts[1:1] = [f"- caution: {_cell(words)}" for words in report.cautions]
    parts[1:1] = [_cell(words) for words in (headline(report.criteria), dataset_words(report)) if words]
    parts += [f"- try: {_cell(words)}" for words in _to_try(report)]
    facts = f"{report.device.cpu}, {report.profile.runtime}, {report.created}"
    return "\n\n".join([*parts, _cell(facts)]) + "\n"


def comparison_table(reports: Sequence[Report], comparisons: Sequence[Comparison]) -> Table:
    """Reports side by side, for a terminal."""
    table = Table(title=Text("compared with the first"), title_justify="left")
    for name in _comparison_columns(reports):
        table.add_column(name, justify="left" if name in ("stage", "figure") else "right", overflow="fold")
    stage = ""
    for line in comparisons:
        cells = comparison_cells(line)
        table.add_row(
            *map(Text, ["" if cells[0] == stage else cells[0], *cells[1:]]), style="red" if line.regressed else None
        )
        stage = line.stage
    return table


def comparison_markdown(reports: Sequence[Report], comparisons: Sequence[Comparison]) -> str:
    """Reports side by side, for a pull request."""
    worse = sum(bool(line.regressed) for line in comparisons)
    title = f"{worse} figure(s) got worse" if worse else "nothing got worse"
    return f"# {title}\n\n" + _rows(_comparison_columns(reports), map(comparison_cells, comparisons)) + "\n"


def _comparison_columns(reports: Sequence[Report]) -> tuple[str, ...]:
    named = (f"{report.name}, {report.device.cpu}, {report.created[:16]}" for report in reports)
    return ("stage", "figure", *named)


def _to_try(report: Report) -> list[str]:
    notes = [f"{criterion.name}: {note}" for criterion in report.criteria for note in criterion.notes]
    return [*notes, *report.advice, *(next_words(step) for step in report.next)]


def _rows(columns: tuple[str, ...], rows: object) -> str:
    lines = [columns, ["---"] * len(columns), *rows]  # type: ignore[misc]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    """Text that stays text in Markdown: no markup, no line ends, no column of its own."""
    plain = visible(" ".join(text.split()))
    return "".join("\\" + c if c in "\\`*_{}[]<>#|!~&" else c for c in plain)
