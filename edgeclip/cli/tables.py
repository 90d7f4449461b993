"""Tables for people: each takes what a command returns and gives a rich table. Nothing is computed here."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..base.visible import json_text, visible

if TYPE_CHECKING:
    from ..chain.stages import Planned
    from ..device.doctor import DoctorReport
    from ..measurement.schema import Figures, Verification
    from ..models.listing import Listed
    from ..profiling.schema import Profile
    from ..runtime.classify import ImageAnswer
    from ..runtime.manifest import Manifest
    from ..towers.spec import StudentSpec


def show(as_json: bool, data: object, table: Callable[[], RenderableType]) -> None:
    """Print the result on stdout: the one JSON document of ``--json``, or a table for people."""
    if as_json:
        sys.stdout.write(json_text(json.dumps(data, indent=2, ensure_ascii=False)) + "\n")
    else:
        shown = _shown(table())
        console = Console(highlight=False, markup=False)
        for part in shown.renderables if isinstance(shown, Group) else [shown]:
            wide = Measurement.get(console, console.options.update(width=WIDEST), part).maximum
            if not sys.stdout.isatty():  # as wide as it needs to be
                Console(width=max(wide, console.width), highlight=False, markup=False).print(part)
            else:
                console.print(_blocks(part) if isinstance(part, Table) and wide > console.width else part)


def _shown(part: Any) -> Any:
    """A table, or what stands beside it, with nothing in it that a terminal would obey."""
    if isinstance(part, str):
        return visible(part, lines=True)
    if isinstance(part, Text) and (plain := visible(part.plain, lines=True)) != part.plain:
        return Text(plain, style=part.style)
    if isinstance(part, Group):
        return Group(*map(_shown, part.renderables))
    if isinstance(part, Table):
        part.title, part.caption = _shown(part.title), _shown(part.caption)
        for column in part.columns:
            column.header, column._cells = _shown(column.header), [_shown(cell) for cell in column.cells]
    return part


WIDEST = 1000  # columns, of what is piped


def _blocks(table: Table) -> Group:
    """A table that the terminal is too narrow for, row by row: nothing of it is cut, and names can be copied."""
    names = [str(column.header) for column in table.columns]
    parts: list[RenderableType] = [Text(str(table.title), style="italic")] if table.title else []
    for cells in zip(*(column.cells for column in table.columns), strict=True):
        first, *others = [cell if isinstance(cell, Text) else Text(str(cell)) for cell in cells]
        parts.append(Text.assemble(first, style="bold"))
        shown = [(name, cell) for name, cell in zip(names[1:], others, strict=True) if cell.plain not in ("", "-")]
        words = [Text.assemble((f"{name} ", "dim") if name else "", cell) for name, cell in shown]
        parts += [Padding(Text(" · ").join(words), (0, 0, 0, 2))] if words else []
    return Group(*parts, *([Text(str(table.caption), style="dim")] if table.caption else []))


def plan_table(stages: Sequence[Planned]) -> Table:
    """One row a stage of a project."""
    table = table_of("stage", "what is done", "why", "took s")
    for stage in stages:
        took = f"{stage.seconds:.0f}" if stage.seconds is not None else "-"
        table.add_row(
            stage.stage, "nothing: it is there" if stage.does == "there" else stage.does, Text(stage.why), took
        )
    return table


def profiles_table(profiles: Sequence[Profile]) -> Table:
    """One row a profile; what was only estimated says so."""
    table = table_of("profile", "device", "runtime", "precisions", "families", "provenance", "error of prediction")
    for p in profiles:
        measured = p.provenance == "measured"
        error = max(model.held_out_error for model in p.cost_model.values())
        families = {family for model in p.cost_model.values() for family in model.families}
        table.add_row(
            Text(p.name),
            Text(p.device.cpu + (f" / {p.device.gpu}" if p.device.gpu else "")),
            Text(p.runtime.told),
            Text(", ".join(p.precisions)),
            Text("vit" if families == {"vit"} else f"{len(families)}"),
            Text(
                f"measured {p.measured_on or ''}" if measured else "estimated", style="green" if measured else "yellow"
            ),
            Text(f"{error:.1%}, held out" if measured else f"{error:.0%}, assumed"),
        )
    table.caption = Text("estimated: from published figures; on the device, edgeclip profile NAME --out FILE measures")
    return table


def profile_table(profile: Profile) -> Table:
    """The facts of one profile and its latency table."""
    facts = f"{profile.name} ({profile.provenance}): {profile.device.cpu}, {profile.runtime.told}"
    table = table_of("image tower", "precision", "GFLOP", "p50 ms", "p90 ms", "spread", title=facts)
    for row in profile.latency:
        table.add_row(
            Text(row.name),
            row.precision,
            f"{row.gflops:.3f}",
            f"{row.p50_ms:.2f}",
            f"{row.p90_ms:.2f}",
            f"{row.spread:.0%}",
        )
    errors = ", ".join(f"{name} {model.held_out_error:.1%}" for name, model in profile.cost_model.items())
    how = "on average, held out" if profile.provenance == "measured" else "or more: assumed, not measured"
    notes = [f"predictions are off by {errors} {how}", *profile.notes]
    notes += [f"source: {source}" for source in profile.sources]
    table.caption = Text("\n".join(notes))
    return table


def specs_table(specs: Sequence[StudentSpec], profile: Profile) -> Table:
    """Ranked students, the best first."""
    title = f"students that fit {profile.name} ({profile.provenance}), best first"
    table = table_of(
        *("student", "input px", "precision", "GFLOP", "params M", "file MB", "memory MB", "predicted ms"),
        *("measured ms", "score", "trial top-1"),
        title=title,
    )
    for spec in specs:
        load = spec.workload
        table.add_row(
            Text(spec.name),
            str(spec.image_size),
            spec.precision,
            f"{load.gflops:.3f}",
            f"{load.params_m:.2f}",
            _number(spec.predicted_size_mb),
            f"{spec.predicted_memory_mb:.0f}" if spec.predicted_memory_mb else "-",
            _number(spec.predicted_ms) + (" beyond" if spec.extrapolated else ""),
            _number(spec.measured_ms),
            _number(spec.score),
            f"{spec.trial_top1:.1%}" if spec.trial_top1 is not None else "-",
        )
    if any(spec.extrapolated for spec in specs):
        table.caption = Text(
            "beyond: larger than every tower that the profile measured, so less sure than its error says"
        )
    return table


def teachers_table(teachers: Sequence[Listed]) -> Table:
    """Teachers by name, those to begin with first."""
    table = table_of("--teacher", "px", "dim", "M params", "image tower", "ImageNet top-1", "mean of 38 sets", "")

    def shown(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    for teacher in teachers:
        figures = (shown(teacher.params_m, ".0f"), shown(teacher.image_params_m, ".0f"))
        scores = (shown(teacher.imagenet, ".1%"), shown(teacher.mean_of_38, ".1%"))
        table.add_row(teacher.name, str(teacher.image_size), str(teacher.embed_dim), *figures, *scores, teacher.remark)
    table.caption = "zero-shot, as open_clip publishes it: https://github.com/mlfoundations/open_clip/tree/main/docs"
    return table


def bundle_table(manifest: Manifest) -> Table:
    """The variants of a bundle."""
    table = table_of(
        "variant", "MB", "cosine mean", "cosine worst", "speed against fp32", "", title=Text(manifest.name)
    )
    for v in manifest.variants:
        table.add_row(
            v.precision,
            f"{v.size / 1e6:.2f}",
            f"{v.fidelity.cosine_mean:.6f}",
            f"{v.fidelity.cosine_worst:.6f}",
            f"{v.relative_speed:.2f}x" if v.relative_speed else "-",
            "recommended" if v.precision == manifest.recommended else "" if v.faithful else "below the threshold",
        )
    return table


def tried_table(manifest: Manifest) -> Table:
    """Every way to run the tower that was tried, and what became of it."""
    table = table_of("tried", "cosine mean", "worst", "top-1 lost", "speed against fp32", "", title=Text(manifest.name))
    for attempt in manifest.tried:
        fidelity = attempt.fidelity
        table.add_row(
            attempt.name,
            f"{fidelity.cosine_mean:.6f}" if fidelity else "-",
            f"{fidelity.cosine_worst:.6f}" if fidelity else "-",
            f"{fidelity.top1_drop:.2f} points" if fidelity and fidelity.top1_drop is not None else "-",
            f"{attempt.relative_speed:.2f}x" if attempt.relative_speed else "-",
            Text(attempt.outcome),
        )
    files = [f"{v.file} {v.size / 1e6:.2f} MB" for v in (*manifest.variants, *manifest.extras)]
    table.caption = Text(", ".join(files))
    return table


def classes_table(answers: Sequence[ImageAnswer]) -> Table:
    """The best labels of each image."""
    table = table_of("image", "label", "probability")
    for answer in answers:
        if answer.problem:
            table.add_row(Text(answer.image), Text(answer.problem.removeprefix(f"{answer.image}: "), style="red"), "")
        for rank, (label, probability) in enumerate(answer.labels):
            table.add_row(Text(answer.image if rank == 0 else ""), Text(label), f"{probability:.1%}")
    return table


def findings_table(verification: Verification) -> Table:
    """What was verified, part by part."""
    wrong = [part for part in verification.findings if part.ok is False]
    differs = "DIFFERS from what was exported" if any(part.ran for part in wrong) else "CANNOT RUN there"
    table = table_of("part", "", "", title=differs if wrong else "verified")
    for part in verification.findings:
        mark = {True: "ok", False: "WRONG" if part.ran else "CANNOT RUN", None: "not checked"}[part.ok]
        table.add_row(part.part, mark, Text(part.detail), style="red" if part.ok is False else None)
    return table


def figures_table(figures: Figures) -> Table:
    """Accuracy, latency, throughput and memory of the variants; what failed says why."""
    columns = ("variant", "top-1", "p50 ms", "p90 ms", "p99 ms", "samples", "load ms", "first ms", "memory MB")
    runtime = figures.runtime.told if figures.runtime else "nothing timed"
    title = f"{figures.name} on {figures.device.cpu}, {runtime}; {figures.rule}"
    table = table_of(*columns, "images/s by batch", title=title)
    notes = [finding.told for finding in figures.wrong]
    for row in figures.rows:
        name = row.stage + (" (recommended)" if row.recommended else "")
        if row.timing is None:
            table.add_row(name, Text(f"failed: {row.failed}"))
            continue
        cuts = [f"{getattr(row.timing, f'{cut}_ms'):.3f}" for cut in ("p50", "p90", "p99")]
        rates = ", ".join(f"{size}: {rate:.0f}" for size, rate in row.throughput.items())
        costs = [_number(value) for value in (row.load_ms, row.first_ms, row.peak_memory_mb)]
        top1 = "-" if row.top1 is None else f"{row.top1:.1%}"
        table.add_row(name, top1, *cuts, str(row.timing.samples), *costs, rates)
        notes += [f"{row.stage}: {row.failed}"] if row.failed else []
        if ran := row.sustained:
            notes.append(f"sustained for {ran.seconds:.0f} s: the end took {ran.last_over_first:.2f} times as long")
    notes += [] if figures.recommended else ["nothing is recommended: not every variant ran to its end"]
    table.caption = Text("\n".join(notes))
    return table


def doctor_table(report: DoctorReport) -> Table:
    """What is here and how to get the rest."""
    cpu, cores = report.device.cpu, report.device.cores
    title = f"edgeclip {report.edgeclip}, Python {report.python}, {cpu}, {cores} cores"
    table = table_of("for", "package", "version", "to get it", title=title)
    for part in report.parts:
        table.add_row(part.purpose, part.package, part.version or "missing", part.hint or "")
    table.caption = "execution providers: " + (", ".join(report.providers) or "none")
    return table


def table_of(*columns: str, title: str | Text | None = None) -> Table:
    """An empty table with these columns."""
    table = Table(title=Text(title) if isinstance(title, str) else title, title_justify="left", caption_justify="left")
    for name in columns:
        table.add_column(name)
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
