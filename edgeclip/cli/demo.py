"""The whole chain."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from .options import JSON, PATH, if_interrupted, tell


@click.command()
@click.option("--out", type=PATH, default=Path("runs/demo"), show_default=True, help="Where everything goes.")
@JSON
def demo(out: Path, as_json: bool) -> None:
    """Run the whole chain on OpenMoji: profile, select, distil, export, report. Minutes on two cores.

    Example:  edgeclip demo
    """
    from ..demo.chain import run_demo
    from ..report.render import table
    from .tables import show

    with if_interrupted("the same command goes on where it was"):
        result = run_demo(out)
    show(as_json, result.as_data(), lambda: table(result))
    tell(f"wrote {out}/report.html, report.md and report.json")
    sys.exit(result.exit_code)
