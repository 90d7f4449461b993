"""Sentences: choose them before they are distilled from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .options import FORCE, JSON, PATH, Commands, complete_models, tell


@click.group(cls=Commands)
def texts() -> None:
    """Prepare sentences for distillation.

    Example:  edgeclip texts select --help
    """


@texts.command(name="select")
@click.option("--images", required=True, help="A folder, shard-{000..099}.tar (globs, URLs), or hf:NAME[:SPLIT].")
@click.option("--corpus", type=PATH, required=True, help="Candidates: .txt, .jsonl, .parquet; .gz, .bz2, .xz, .zst.")
@click.option(
    "--teacher",
    required=True,
    metavar="T",
    help="As in `edgeclip distill`; its embeddings match sentences with images.",
    shell_complete=complete_models,
)
@click.option(
    "--out",
    type=PATH,
    required=True,
    help="Write the sentences that are kept, with the reasons, to this file (.jsonl).",
)
@click.option(
    "--neighbours",
    type=click.IntRange(1, 1000),
    default=8,
    show_default=True,
    help="Nearest sentences that each image votes for.",
)
@click.option(
    "--cap", type=click.IntRange(1, 10_000), default=8, show_default=True, help="Votes that a sentence accepts at most."
)
@click.option("--store", type=PATH, help="Folder of the teacher's embeddings.  [default: beside --out]")
@FORCE
@JSON
def select(
    images: str,
    corpus: Path,
    teacher: str,
    out: Path,
    neighbours: int,
    cap: int,
    store: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Keep the sentences of a large corpus that match the images.

    Each image votes for the sentences nearest to it in the teacher's space; a sentence takes only so many votes, and
    of those that say nearly the same the best stays. Written beside --out: how much was kept, and why.

    Example:  edgeclip texts select --images photos/ --corpus wiki.txt.gz --teacher ViT-B-16:openai --out kept.jsonl
    """
    from ..api.student import select_texts
    from .tables import show

    settings: dict[str, Any] = {"neighbours": neighbours, "cap": cap, "store": store, "force": force}
    selection = select_texts(images, corpus, teacher, out, **settings)
    tell(f"wrote {out} and {out.with_suffix('.summary.json')}; next: edgeclip distill … --texts {out}")
    line = f"kept {selection.kept} of {selection.candidates} sentences ({selection.said_twice} duplicates)"
    show(as_json, selection.as_data(), lambda: line)
