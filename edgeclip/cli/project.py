"""One folder from one's own images to a report."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import FEW_IMAGES, JSON, PATH, TRUST, if_interrupted, tell

if TYPE_CHECKING:
    from ..chain.stages import Stage

STAGES = ("profile", "select", "distill", "export", "report")  # as chain/stages.py, which --help need not load


@click.command(name="init")
@click.argument("folder", type=PATH)
@JSON
def init_command(folder: Path, as_json: bool) -> None:
    """Create a project folder: project.toml, images/, testset/ and sentences.txt, to put your own data into.

    Example:  edgeclip init my-project
    """
    from ..api.project import init
    from .tables import show

    file = init(folder)
    folders = [str(folder), str(folder / "images"), str(folder / "testset")]
    made = {"project": str(file), "folders": folders}
    show(as_json, made, lambda: f"wrote {file}: edit it, put your data beside it, then: edgeclip run {folder}")


@click.command(name="run")
@click.argument("folder", type=PATH)
@click.option("--plan", "plan_only", is_flag=True, help="Show which stages would run, and why; run none.")
@click.option("--again", type=click.Choice(STAGES), help="Run this stage and all after it again.")
@FEW_IMAGES
@TRUST
@JSON
def run_command(
    folder: Path, plan_only: bool, again: Stage | None, few_images: bool, trust: bool, as_json: bool
) -> None:
    """Run the stages of a project.toml: profile, select, distil, export, report.

    A stage is run again only if a setting that it depends on has changed since; the changes are listed. After an
    interruption, the same command continues.

    Exit 0: every criterion passes; 3: one fails; 4: one is not measured or not decided.

    Example:  edgeclip run my-project
    """
    from ..api.project import next_commands, plan, run
    from ..reporting.render import table
    from .tables import plan_table, show

    if plan_only:
        stages = plan(folder, again=again, few_images=few_images, trust=trust)
        show(as_json, [asdict(stage) for stage in stages], lambda: plan_table(stages))
        return
    somebody = sys.stdin.isatty() and sys.stderr.isatty() and not as_json
    settings: dict[str, Any] = {"few_images": few_images, "trust": trust, "again": again}
    with if_interrupted(f"progress is saved; continue with: edgeclip run {shlex.quote(str(folder))}"):
        result = run(folder, **settings, ask=partial(click.confirm, err=True) if somebody else None)
    show(as_json, result.as_data(), lambda: table(result))
    tell(f"wrote {folder}/report/report.html, report.md and report.json")
    tell("next:")
    for command in next_commands(folder):
        tell(f"  {command}")
    sys.exit(result.exit_code)
