"""The report as one HTML file that needs nothing else: no script, no network; everything from outside is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from string import Template

from .. import __version__
from ..base.visible import escape, visible
from .cells import (
    CHAIN_COLUMNS,
    CRITERIA_COLUMNS,
    DEVICE_COLUMNS,
    MET,
    MISSED,
    NOT_DECIDED,
    NOT_MEASURED,
    chain_cells,
    chance_cells,
    criterion_cells,
    dataset_words,
    device_cells,
    facts_cells,
    next_words,
    verdict,
)
from .charts import chain, hot_spots, learning, over_time
from .classes import class_table, truth_plot
from .confusion import what_broke
from .criteria import times_as_long
from .plots import predicted, scatter, strips
from .sanity import headline
from .schema import Report
from .sheet import sheet

CREDIT = "edgeclip {edgeclip}, {created}; every figure is in report.json (format version {version})."


def html(report: Report) -> str:
    """The whole page."""
    chosen = next(row for row in report.rows if row.recommended)
    limit = next((line.limit for line in report.criteria if line.kind == "latency"), None)
    chance = report.dataset.chance if report.dataset else None
    page = Template((files(__package__) / "page.html").read_text(encoding="utf-8"))
    return page.substitute(
        title=escape(f"edgeclip report: {report.name}"),
        subtitle=escape(_subtitle(report)),
        stamp_class="" if report.verdict == "met" else "missed",
        stamp=escape(verdict(report)),
        figures=_figures(report),
        headline=_headline(report),
        cautions=_cautions(report),
        advice=_advice([*report.advice, *(next_words(step) for step in report.next)]),
        budget=_table(CRITERIA_COLUMNS, [criterion_cells(line) for line in report.criteria], None),
        chain=_table(CHAIN_COLUMNS, [*map(chain_cells, report.rows), *chance_cells(report)], report.rows.index(chosen)),
        costs=_table(DEVICE_COLUMNS, [device_cells(row) for row in report.rows if row.where == "device"], None),
        accuracy=chain(report.rows, chance),
        broke=what_broke(report.rows),
        learning=learning(report.curve),
        pictures=_section("Pictures", sheet(report), "pictures"),
        truth=_section("Confusions of the recommended variant", truth_plot(report), "broke"),
        classes=_section("Class by class, recommended variant", class_table(report), "classes"),
        time=over_time(report.rows, report.reference),
        hot=hot_spots(chosen),
        fell_back=escape(_fell_back(report)),
        rule=escape(report.rule),
        scatter=scatter(report.rows, limit, chance),
        strips=strips(report.rows, limit),
        predicted=predicted(report.rows),
        facts=_facts(report),
        commands="\n".join(escape(visible(command)) for command in report.commands),
        footer=escape(_credit(report)),
    )


def _credit(report: Report) -> str:
    return CREDIT.format(edgeclip=__version__, created=report.created, version=report.VERSION)


def _subtitle(report: Report) -> str:
    parts = [report.device.cpu, dataset_words(report), report.created]
    return "; ".join(part for part in parts if part)


def _headline(report: Report) -> str:
    words = headline(report.criteria)
    return f'<p class="headline">{escape(words)}</p>' if words else ""


def _figures(report: Report) -> str:
    """The numbers that people look for."""
    chosen = next(row for row in report.rows if row.recommended)
    figures = []
    if chosen.timing:
        figures.append((f"{chosen.timing.p90_ms:.2f} ms", "p90 of one image"))
    if chosen.top1 is not None:
        figures.append((f"{chosen.top1:.1%}", "top-1"))
    figures.append((f"{chosen.size_bytes / 1e6:.1f} MB", "image tower"))
    teacher = next((row for row in report.rows if row.stage == "teacher"), None)
    if teacher and (times := times_as_long(teacher, chosen)):
        figures.append((f"{times:.1f}x", "faster than the teacher"))
    cells = (f'<b>{escape(value)}</b><span class="soft">{escape(name)}</span>' for value, name in figures)
    return "".join(f'<span class="figure">{cell}</span>' for cell in cells)


def _fell_back(report: Report) -> str:
    """Which rows did not run where they were asked to."""
    notes = [f"{row.stage}: {', '.join(row.fell_back)}" for row in report.rows if row.fell_back]
    notes += [
        f"{r.stage}: all, on {r.providers[0]}" for r in report.rows if r.providers and r.providers[0] != r.provider
    ]
    if notes:
        return "Ran on another provider than asked: " + "; ".join(notes)
    return "All operators ran on the requested provider."


def _cautions(report: Report) -> str:
    cautions = [
        *report.cautions,
        *(f"{criterion.name}: {note}" for criterion in report.criteria for note in criterion.notes),
    ]
    items = "".join(f"<li>{escape(words)}</li>" for words in cautions)
    return f'<section class="cautions"><h2>What to know first</h2><ul>{items}</ul></section>' if cautions else ""


def _section(title: str, content: str, kind: str) -> str:
    return f'<section class="{kind}"><h2>{title}</h2>{content}</section>' if content else ""


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
    kind = "met" if text == MET else "missed-text" if text in (MISSED, NOT_MEASURED, NOT_DECIDED) else ""
    return f"<td{f' class={kind!r}' if kind else ''}>{escape(text)}</td>"


def _facts(report: Report) -> str:
    cells = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts_cells(report))
    return f"<dl>{cells}</dl>"
