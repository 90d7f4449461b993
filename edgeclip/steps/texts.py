"""Select the sentences that are grounded in images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import EdgeclipError, require
from ..files import mendable, writable_file, write_text

if TYPE_CHECKING:
    from ..distill.grounding import Selection


def select_sentences(
    images: str, corpus: Path, teacher: str, out: Path, *, neighbours: int, cap: int, store: Path | None = None
) -> Selection:
    """Write the sentences of ``corpus`` that speak of ``images`` to ``out`` (.jsonl), and beside it what was done.

    Raises:
        EdgeclipError: an input is missing or unfit, or ``out`` is something else.
    """
    require("torch", "distill")
    from ..distill.grounding import ground
    from ..distill.images import Images
    from ..distill.sentences import distinct, read_sentences
    from ..distill.sources import open_source
    from .distill import open_teacher

    if out.suffix != ".jsonl":
        raise EdgeclipError(f"{out}: --out must end in .jsonl: each sentence is written with the reasons")
    writable_file(out)
    folder = store or out.with_suffix(".store")
    master = open_teacher(teacher)
    with mendable(out):
        sentences = distinct(read_sentences(corpus), folder / "corpus.bin")
        pictures = Images(open_source(images, folder), master.preprocess)
        found, summary = ground(master, pictures, sentences, folder, neighbours=neighbours, cap=cap)
        lines = (json.dumps(record, ensure_ascii=False) for record in found.records(sentences, pictures))
        write_text(out, "".join(f"{line}\n" for line in lines))
    summary.save(out.with_suffix(".summary.json"))
    return summary
