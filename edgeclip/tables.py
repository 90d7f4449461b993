"""Tables for people: each takes what a command returns and gives a rich table. Nothing is computed here."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from .device.schema import Profile
    from .runtime.manifest import Manifest
    from .student.spec import StudentSpec


def show(as_json: bool, data: object, table: Callable[[], RenderableType]) -> None:
    """Print the result on stdout: the one JSON document of ``--json``, or a table for people."""
    if as_json:
        sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")
    else:
        # Where stdout is no terminal, a table is as wide as it needs to be.
        Console(width=None if sys.stdout.isatty() else 140, highlight=False, markup=False).print(table())


def profiles_table(profiles: Sequence[Profile]) -> Table:
    """One row a profile; what was only estimated says so."""
    table = _table("profile", "device", "runtime", "precisions", "provenance", "error of prediction")
    for p in profiles:
        error = max(model.held_out_error for model in p.cost_model.values())
        runtime = f"{p.runtime.name} {p.runtime.version}, {p.runtime.threads} threads"
        table.add_row(
            Text(p.name),
            Text(p.device.cpu + (f" / {p.device.gpu}" if p.device.gpu else "")),
            Text(runtime),
            Text(", ".join(p.precisions)),
            Text(p.provenance, style="green" if p.provenance == "measured" else "yellow"),
            Text(f"{error:.1%}"),
        )
    return table


def profile_table(profile: Profile) -> Table:
    """The facts of one profile and its latency table."""
    facts = f"{profile.name} ({profile.provenance}): {profile.device.cpu}, {profile.runtime.threads} threads, "
    facts += f"{profile.runtime.name} {profile.runtime.version}"
    table = _table("image tower", "precision", "GFLOP", "p50 ms", "p90 ms", "spread", title=facts)
    for row in profile.latency:
        table.add_row(
            Text(row.name),
            row.precision,
            f"{row.workload.linear_gflops + row.workload.attention_gflops:.3f}",
            f"{row.p50_ms:.2f}",
            f"{row.p90_ms:.2f}",
            f"{row.spread:.0%}",
        )
    errors = ", ".join(f"{name} {model.held_out_error:.1%}" for name, model in profile.cost_model.items())
    notes = [f"predictions are off by {errors} on average, held out", *profile.notes]
    notes += [f"source: {source}" for source in profile.sources]
    table.caption = Text("\n".join(notes))
    return table


def specs_table(specs: Sequence[StudentSpec], profile: Profile) -> Table:
    """Ranked students, the best first."""
    title = f"students that fit {profile.name} ({profile.provenance}), best first"
    table = _table("student", "input px", "precision", "GFLOP", "params M", "predicted ms", "score", title=title)
    for spec in specs:
        load = spec.workload
        table.add_row(
            Text(spec.name),
            str(spec.image_size),
            spec.precision,
            f"{load.linear_gflops + load.attention_gflops:.3f}",
            f"{load.params_m:.2f}",
            _number(spec.predicted_ms),
            _number(spec.score),
        )
    return table


def bundle_table(manifest: Manifest) -> Table:
    """The variants of a bundle."""
    table = _table("variant", "MB", "cosine mean", "cosine worst", "speed against fp32", "", title=Text(manifest.name))
    for v in manifest.variants:
        table.add_row(
            v.precision,
            f"{v.bytes / 1e6:.2f}",
            f"{v.fidelity.cosine_mean:.6f}",
            f"{v.fidelity.cosine_worst:.6f}",
            f"{v.relative_speed:.2f}x" if v.relative_speed else "-",
            "recommended" if v.precision == manifest.recommended else "",
        )
    return table


def classes_table(answers: Sequence[dict[str, Any]]) -> Table:
    """The best labels of each image."""
    table = _table("image", "label", "probability")
    for answer in answers:
        for rank, (label, probability) in enumerate(answer["labels"]):
            table.add_row(Text(answer["image"] if rank == 0 else ""), Text(label), f"{probability:.1%}")
    return table


def doctor_table(findings: dict[str, Any]) -> Table:
    """What is here and how to get the rest."""
    device = findings["device"]
    title = f"edgeclip {findings['edgeclip']}, Python {findings['python']}, {device['cpu']}, {device['cores']} cores"
    table = _table("for", "package", "version", "to get it", title=title)
    for part in findings["parts"]:
        table.add_row(part["for"], part["package"], part["version"] or "missing", part["mend"] or "")
    table.caption = "execution providers: " + (", ".join(findings["providers"]) or "none")
    return table


def _table(*columns: str, title: str | Text | None = None) -> Table:
    table = Table(title=Text(title) if isinstance(title, str) else title, title_justify="left", caption_justify="left")
    for name in columns:
        table.add_column(name)
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
