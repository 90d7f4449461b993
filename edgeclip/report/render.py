"""The views of a report: a table for the terminal, Markdown for a pull request, one HTML page."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group
from rich.table import Table
from rich.text import Text

from ..files import write_text
from .cells import BUDGET_COLUMNS, CHAIN_COLUMNS, budget_cells, chain_cells, verdict
from .page import html
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
    budget = Table(title="budget and promises", title_justify="left")
    for name in BUDGET_COLUMNS:
        budget.add_column(name, justify="left" if name in ("line", "") else "right")
    for line in report.budget:
        budget.add_row(*map(Text, budget_cells(line)), style=None if line.met else "red")
    notes = [Text(verdict(report), style="bold green" if report.passed else "bold red")]
    return Group(chain, budget, *notes, *(Text(f"try: {advice}") for advice in report.advice))


def markdown(report: Report) -> str:
    """Verdict, budget and chain as Markdown tables; what comes from outside cannot break out of a cell."""
    parts = [f"# {_cell(report.name)}: {verdict(report)}", _rows(BUDGET_COLUMNS, map(budget_cells, report.budget))]
    parts.append(_rows(CHAIN_COLUMNS, map(chain_cells, report.rows)))
    parts += [f"- try: {_cell(advice)}" for advice in report.advice]
    facts = f"{report.device.get('cpu', 'unknown device')}, {report.profile.get('runtime', '')}, {report.created}"
    return "\n\n".join([*parts, _cell(facts)]) + "\n"


def _rows(columns: tuple[str, ...], rows: object) -> str:
    lines = [columns, ["---"] * len(columns), *rows]  # type: ignore[misc]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    """Text that stays text in Markdown: no markup, no line ends, no column of its own."""
    plain = " ".join(text.split())
    return "".join("\\" + c if c in "\\`*_{}[]<>#|!~&" else c for c in plain)
