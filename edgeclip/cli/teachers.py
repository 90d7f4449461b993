"""Whom to learn from."""

from __future__ import annotations

import click

from .options import JSON


@click.command(name="teachers")
@click.argument("word", default="")
@JSON
def teachers_command(word: str, as_json: bool) -> None:
    """List the pretrained open_clip models that can be the teacher; WORD filters by name.

    First comes the small one of the demo, then three to begin with. Any other open_clip model is hf-hub:USER/NAME,
    or local-dir:FOLDER on your disk.

    Example:  edgeclip teachers siglip
    """
    from dataclasses import asdict

    from ..api.student import list_teachers
    from .tables import show, teachers_table

    teachers = list_teachers(word)
    show(as_json, [asdict(teacher) for teacher in teachers], lambda: teachers_table(teachers))
