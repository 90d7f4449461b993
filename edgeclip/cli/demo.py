"""The whole chain."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from .options import JSON, PATH, if_interrupted, tell


@click.command()
@click.option("--out", type=PATH, default=Path("runs/demo"), show_default=True, help="Output folder.")
@JSON
def demo(out: Path, as_json: bool) -> None:
    """Run the whole pipeline on OpenMoji: profile, select, distil, export, report. It takes minutes on two cores.

    Exit 0: every stage works, and the student keeps what the demo promises; 3 or 4: one does not, which is named.

    Example:  edgeclip demo
    """
    from ..api import project
    from ..reporting.render import table
    from .tables import show

    with if_interrupted("run the same command again to resume"):
        result = project.demo(out)
    show(as_json, result.as_data(), lambda: table(result))
    tell(f"wrote {out}/report.html, report.md and report.json")
    code = project.demo_exit_code(result)
    if code != result.exit_code:
        tell("the chain works, and what the demo promises was kept; milliseconds need a machine that does nothing else")
    sys.exit(code)
