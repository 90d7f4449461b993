"""The command line, a module a stage: parse, one call, print. Heavy imports happen inside, so that --help is quick."""

from __future__ import annotations

import io
import sys

import click

from .. import __version__
from ..base.scratch import clear_scratch
from . import demo, device, distill, evaluate, export, project, push, report, select, teachers, texts
from .options import INTERRUPTED, TERMINATED, Commands, tell

__all__ = ["INTERRUPTED", "TERMINATED", "main"]


STAGES = {
    "Begin": ("init", "run", "demo"),
    "The device": ("profile", "profiles", "doctor"),
    "The student": ("select", "teachers", "texts", "distill"),
    "The bundle": ("export", "verify", "classify", "push"),
    "The proof": ("measure", "report", "compare", "eval", "retention"),
}


class Stages(Commands):
    """Lists the commands by the stage that they belong to, each with its first sentence whole."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """A section a stage."""
        for stage, names in STAGES.items():
            with formatter.section(stage):
                formatter.write_dl([(name, _first_sentence(self.commands[name])) for name in names])


def _first_sentence(command: click.Command) -> str:
    words = " ".join((command.help or "").split())
    return words.partition(". ")[0].partition(": ")[0].rstrip(".")


@click.group(cls=Stages, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="edgeclip")
def main() -> None:
    """Distil a CLIP-like teacher into the best student within a device's budget, export it, and measure it on that
    device.

    Try the whole pipeline:  edgeclip demo
    """
    for stream in (sys.stdout, sys.stderr):  # names of files need not be text that a terminal can show
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    for left in clear_scratch():
        tell(f"{left} was left by a command that was killed: cleared")


for command in (
    device.profile,
    device.profiles,
    select.select_command,
    teachers.teachers_command,
    texts.texts,
    distill.distill_command,
    export.export_command,
    report.verify_command,
    report.measure_command,
    report.report_command,
    report.compare_command,
    evaluate.eval_command,
    evaluate.retention_command,
    report.classify_command,
    push.push_command,
    device.doctor,
    project.init_command,
    project.run_command,
    demo.demo,
):
    main.add_command(command)
