"""A project's folder, from one's own images to a report; and the demo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..base.errors import require
from ..chain.project import FILE, init_project
from ..chain.steps import next_commands

if TYPE_CHECKING:
    from ..chain.stages import Planned, Stage
    from ..reporting.schema import Report

__all__ = ["demo", "demo_exit_code", "init", "next_commands", "plan", "run"]


def init(folder: str | Path) -> Path:
    """Create a project folder: project.toml, images/, testset/ and sentences.txt. Returns the path of project.toml.

    Raises:
        EdgeclipError: there is a project, or the folder cannot be written to.
    """
    init_project(Path(folder))
    return Path(folder) / FILE


def run(
    folder: str | Path,
    *,
    again: Stage | None = None,
    few_images: bool = False,
    trust: bool = False,
    ask: Callable[[str], bool] | None = None,
) -> Report:
    """Run the stages of a project.toml: profile, select, distil, export, report. What is done and unchanged is kept.

    Args:
        folder: with project.toml.
        again: runs this stage and all after it again.
        few_images: judges accuracy even where more images would be needed to decide it.
        trust: runs the teacher code (``module:factory``) that somebody else's project names.
        ask: answers a question that comes up; None: no question is asked.

    Raises:
        EdgeclipError: there is no project, its file has faults, or an input is missing or unfit.
    """
    require("torch", "distill")
    from ..chain.follow import run_project

    return run_project(Path(folder), few_images=few_images, trust=trust, again=again, ask=ask)


def plan(
    folder: str | Path, *, again: Stage | None = None, few_images: bool = False, trust: bool = False
) -> list[Planned]:
    """Which stages :func:`run` would run, and why.

    Raises:
        EdgeclipError: there is no project, or its file has faults.
    """
    require("torch", "distill")
    from ..chain.follow import planned_project

    return planned_project(Path(folder), again=again, few_images=few_images, trust=trust)


def demo(out: str | Path = "runs/demo") -> Report:
    """Run the whole pipeline on OpenMoji; it takes minutes on two cores.

    Raises:
        EdgeclipError: a stage failed, or a part of the demo is not installed.
    """
    from ..chain.demo.pipeline import run_demo

    return run_demo(Path(out))


def demo_exit_code(report: Report) -> int:
    """0 where the chain works and the demo's promises are kept, whether or not milliseconds could be judged."""
    from ..chain.demo.criteria import exit_code

    return exit_code(report)
