"""The command line: every stage's commands in the order of the pipeline."""

from __future__ import annotations

import click

from . import __version__
from .commands import demo, device, distill, evaluate, export, push, report, student, texts
from .options import Commands


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="edgeclip")
def main() -> None:
    """Give edgeclip a teacher, unpaired images and sentences, and a device; get back the best student that the
    device can afford, exported, with a report measured on that device.

    See the whole chain at work:  edgeclip demo
    """


for command in (
    device.profile,
    device.profiles,
    student.select,
    texts.texts,
    distill.distill,
    export.export,
    report.verify,
    report.bench,
    report.report,
    report.compare,
    evaluate.evaluate,
    evaluate.retention,
    report.classify,
    push.push,
    device.doctor,
    demo.demo,
):
    main.add_command(command)
