"""One folder from one's own images to a report."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from .options import FEW_IMAGES, JSON, PATH, TRUST, if_interrupted, tell


@click.command(name="init")
@click.argument("folder", type=PATH)
@JSON
def init_command(folder: Path, as_json: bool) -> None:
    """Begin a project: a commented project.toml, and places for your own images, sentences and labelled pictures.

    Example:  edgeclip init my-project
    """
    from ..project import FILE, NOTES, init_project
    from .tables import show

    init_project(folder)
    told = {"project": str(folder / FILE), "folders": sorted({str((folder / name).parent) for name in NOTES})}
    show(as_json, told, lambda: f"wrote {folder / FILE}: edit it, put your data beside it, then: edgeclip run {folder}")


@click.command(name="run")
@click.argument("folder", type=PATH)
@FEW_IMAGES
@TRUST
@JSON
def run_command(folder: Path, few_images: bool, trust: bool, as_json: bool) -> None:
    """Do what a project.toml says: profile, select, distil, export, report; what is there and valid is used again.

    Exit 0: all that was asked for was met; 3: something was missed; 4: something was not measured or not decided.

    Example:  edgeclip run my-project
    """
    from ..errors import require
    from .tables import show

    require("torch", "distill")
    from ..project import run_project
    from ..report.render import table

    with if_interrupted(f"what is done is kept; go on with: edgeclip run {shlex.quote(str(folder))}"):
        result = run_project(folder, few_images=few_images, trust=trust)
    show(as_json, result.as_data(), lambda: table(result))
    tell(f"wrote {folder}/report/report.html, report.md and report.json")
    sys.exit(result.exit_code)
