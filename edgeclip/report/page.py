"""The report as one HTML file that needs nothing else: no script, no network; everything from outside is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from string import Template

from .cells import BUDGET_COLUMNS, CHAIN_COLUMNS, budget_cells, chain_cells, verdict
from .plots import predicted, scatter, strips
from .schema import Report

CREDIT = "Report schema version {version}; made by edgeclip {created}."


def html(report: Report) -> str:
    """The whole page."""
    chosen = next(row for row in report.rows if row.recommended)
    limit = next((line.limit for line in report.budget if line.name.startswith("latency")), None)
    page = Template((files(__package__) / "page.html").read_text(encoding="utf-8"))
    return page.substitute(
        title=escape(f"edgeclip report: {report.name}"),
        subtitle=escape(_subtitle(report)),
        stamp_class="" if report.passed else "missed",
        stamp=escape(verdict(report)),
        figures=_figures(report),
        advice=_advice(report.advice),
        budget=_table(BUDGET_COLUMNS, [budget_cells(line) for line in report.budget], None),
        chain=_table(CHAIN_COLUMNS, [chain_cells(row) for row in report.rows], report.rows.index(chosen)),
        scatter=scatter(report.rows, limit),
        strips=strips(report.rows, limit),
        predicted=predicted(report.rows),
        facts=_facts(report),
        commands=escape("\n".join(report.commands)),
        footer=escape(CREDIT.format(version=report.VERSION, created=report.created)),
    )


def _subtitle(report: Report) -> str:
    images, classes = report.dataset.get("images", "?"), report.dataset.get("classes", "?")
    return f"{report.device.get('cpu', 'unknown device')}; {images} images, {classes}-way zero-shot; {report.created}"


def _figures(report: Report) -> str:
    """The three numbers that people look for."""
    chosen = next(row for row in report.rows if row.recommended)
    figures = [(f"{chosen.timing.p90_ms:.2f} ms", "p90 of one image"), (f"{chosen.top1:.1%}", "top-1")]
    figures.append((f"{chosen.size_bytes / 1e6:.1f} MB", "image tower"))
    teacher = next((row for row in report.rows if row.stage == "teacher"), None)
    if teacher:
        figures.append((f"{teacher.timing.p50_ms / chosen.timing.p50_ms:.1f}x", "faster than the teacher"))
    cells = (f'<b>{escape(value)}</b><span class="soft">{escape(name)}</span>' for value, name in figures)
    return "".join(f'<span class="figure">{cell}</span>' for cell in cells)


def _advice(advice: Sequence[str]) -> str:
    if not advice:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in advice)
    return f"<section><h2>What to try</h2><ul>{items}</ul></section>"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], chosen: int | None) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = ""
    for number, cells in enumerate(rows):
        mark = ' class="chosen"' if number == chosen else ""
        body += f"<tr{mark}>{''.join(_cell(cell) for cell in cells)}</tr>"
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(text: str) -> str:
    kind = {"met": ' class="met"', "MISSED": ' class="missed-text"'}.get(text, "")
    return f"<td{kind}>{escape(text)}</td>"


def _facts(report: Report) -> str:
    profile = report.profile
    facts = [(name.replace("_", " "), _shown(value)) for name, value in report.device.items()]
    facts.append(("profile", f"{profile.get('name', '?')} ({profile.get('provenance', '?')})"))
    facts += [(name, version) for name, version in report.software.items()]
    cells = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts)
    return f"<dl>{cells}</dl>"


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
