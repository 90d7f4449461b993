"""Which sentences of a large corpus speak of what the images show.

DIME-FM trains on sentences "grounded in the images" that its authors selected from a large corpus by a script that is
not published; this is our reading of it. Each image votes for the sentences nearest to it in the teacher's space. A
sentence takes only so many votes, else a few that are near everything (hubs, as Radovanovic et al., JMLR 2010, call
them) would take most; an image whose favourite is full votes for its next. Of sentences that say nearly the same of one
image, the one with more votes stays.

Everything goes by blocks: embeddings lie in feature stores, and memory holds a few numbers an image and a sentence.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..base.console import progress_bar
from ..base.documents import Cosine, Count, Document
from ..base.errors import EdgeclipError
from ..base.files import is_ours, mendable, writable_file, write_text
from ..base.pictures import say_skipped
from ..base.strings import StringsOnDisk
from ..data.augment import Augment
from ..data.processes import processes
from ..data.sentences import kept_sentences
from ..data.squares import Images
from ..data.store import FeatureStore, StoreDocument, feature_store
from ..data.views import Views
from ..images.sources import open_source
from .targets import image_embedder, sentence_embedder
from .teachers import Teacher, folder_name

NEIGHBOURS = 8  # sentences that an image votes for
CAP = 8  # votes that a sentence may take
ALIKE = 0.95  # cosine from which two sentences of one image say the same
SPARE = 4  # candidates looked at, for each vote: the next ones serve where the nearest are full
IMAGE_BLOCK, TEXT_BLOCK = 4096, 8192  # rows compared at once: 134 MB of similarities
WHOLE = Augment(area=(1.0, 1.0), aspect=0.0, flip=False)  # the image as it is


class Selection(Document):
    """What was kept of a corpus, and how much, beside the sentences themselves."""

    FORMAT: ClassVar[str] = "edgeclip-sentences"

    teacher: str
    images: Count
    unreadable: Count = 0  # of these
    candidates: Count  # distinct sentences of the corpus
    neighbours: Count
    cap: Count
    alike: Cosine
    voted_for: Count  # sentences with a vote
    full: Count  # of these, with as many as they may take
    said_twice: Count  # of these, dropped for one that says nearly the same
    kept: Count
    score_percentiles: dict[str, Cosine]  # of the kept ones' cosine to their nearest image


@dataclass
class Grounded:
    """Per sentence of the corpus: votes ``[M]``, best cosine ``[M]`` and the image it is to ``[M]``; and who stays."""

    votes: NDArray[np.int32]
    score: NDArray[np.float32]
    image: NDArray[np.int64]
    kept: NDArray[np.int64]  # rows of the corpus, in its order
    said_twice: int

    def records(self, corpus: StringsOnDisk, images: Images) -> Iterator[dict[str, Any]]:
        """The kept sentences with the reasons, as JSON lines that ``distill --texts`` reads."""
        for row in self.kept.tolist():
            why = {"votes": int(self.votes[row]), "score": round(float(self.score[row]), 4)}
            yield {"text": corpus[row], **why, "image": images.source.key(int(self.image[row]))}


def select_sentences(
    images: str,
    corpus: Path,
    teacher: Teacher,
    out: Path,
    *,
    neighbours: int = NEIGHBOURS,
    cap: int = CAP,
    store: Path | None = None,
) -> Selection:
    """Write the sentences of ``corpus`` that speak of ``images`` to ``out`` (.jsonl), and beside it what was done.

    Raises:
        EdgeclipError: an input is missing or unfit.
    """
    folder = store or out.with_suffix(".store")
    with mendable(out):
        sentences = kept_sentences(corpus, folder / "sentences")
        pictures = Images(open_source(images, folder, processes().main_process_first), teacher.preprocess)
        grounded, summary = ground(teacher, pictures, sentences, folder, neighbours=neighbours, cap=cap)
        lines = (json.dumps(record, ensure_ascii=False) for record in grounded.records(sentences, pictures))
        write_text(out, "".join(f"{line}\n" for line in lines))
    summary.save(_summary(out))
    return summary


def check_out(out: Path, *, force: bool = False) -> None:
    """Find out whether :func:`select_sentences` may write to ``out``; ``force``: over what it wrote there before.

    Raises:
        EdgeclipError: it may not.
    """
    if out.suffix != ".jsonl":
        raise EdgeclipError(f"{out}: --out must end in .jsonl: each sentence is written with the reasons")
    writable_file(out, force=force, ours=lambda file: _summary(file).is_file() and is_ours(_summary(file)))
    if _summary(out).exists():
        writable_file(_summary(out), force=force)


def _summary(out: Path) -> Path:
    return out.with_suffix(".summary.json")


def ground(
    teacher: Teacher,
    images: Images,
    corpus: StringsOnDisk,
    store: Path,
    *,
    neighbours: int = NEIGHBOURS,
    cap: int = CAP,
    alike: float = ALIKE,
) -> tuple[Grounded, Selection]:
    """Select the sentences of ``corpus`` that are grounded in ``images``.

    Args:
        teacher: in whose space they are compared.
        images: what the sentences should speak of.
        corpus: the candidates.
        store: where the embeddings are kept; an interrupted selection goes on from them.
        neighbours: votes an image has.
        cap: votes a sentence may take.
        alike: cosine from which two sentences say the same.

    Raises:
        FormatError: ``store`` is of other images, sentences or another teacher.
    """
    folder = store / folder_name(teacher)
    base = {"teacher": teacher.fingerprint}
    texts_document = StoreDocument(
        fingerprint={**base, "sentences": corpus.digest}, rows=len(corpus), dim=teacher.embed_dim, dtype="float16"
    )
    seen = {**base, "images": images.source.digest, "image_size": str(images.size)}
    images_document = texts_document.model_copy(update={"fingerprint": seen, "rows": len(images)})
    looks = image_embedder(teacher, images, Views(WHOLE, 0), 1)
    pictures = feature_store(folder / "whole-images", f"{teacher.name} looks", images_document, looks, images.source)
    say_skipped([images.source.key(row) for row in pictures.broken], "images")
    texts = feature_store(
        folder / "corpus", f"embed sentences ({teacher.name})", texts_document, sentence_embedder(teacher, corpus)
    )
    scores, nearest = _nearest(pictures, texts, min(SPARE * neighbours, len(corpus)))
    accepted = _vote(scores, nearest, len(corpus), neighbours, cap)
    grounded = _grounded(scores, nearest, accepted, len(corpus))
    dropped = _said_twice(grounded, texts, nearest, accepted, alike)
    grounded.kept, grounded.said_twice = np.flatnonzero((grounded.votes > 0) & ~dropped), int(dropped.sum())
    levels = np.percentile(grounded.score[grounded.kept], [5, 50, 95]) if len(grounded.kept) else [0.0] * 3
    return grounded, Selection(
        teacher=teacher.name,
        images=len(images),
        unreadable=len(pictures.broken),
        candidates=len(corpus),
        neighbours=neighbours,
        cap=cap,
        alike=alike,
        voted_for=int((grounded.votes > 0).sum()),
        full=int((grounded.votes >= cap).sum()),
        said_twice=grounded.said_twice,
        kept=len(grounded.kept),
        score_percentiles={f"p{q}": round(float(level), 4) for q, level in zip((5, 50, 95), levels, strict=True)},
    )


def _nearest(images: FeatureStore, texts: FeatureStore, count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The ``count`` nearest sentences of every image, nearest first: cosines and rows, ``[N, count]`` each."""
    best = np.full((len(images), count), -2.0, np.float32)
    rows = np.full((len(images), count), -1, np.int64)
    blocks = [range(s, min(s + TEXT_BLOCK, len(texts))) for s in range(0, len(texts), TEXT_BLOCK)]
    starts = range(0, len(images), IMAGE_BLOCK)
    unread = np.isin(np.arange(len(images)), images.broken)
    with progress_bar("nearest sentences", len(blocks) * len(starts)) as bar:
        for start in starts:
            span = range(start, min(start + IMAGE_BLOCK, len(images)))
            pictures = images[span].numpy()
            for block in blocks:
                similar = pictures @ texts[block].numpy().T
                joined = np.concatenate([best[span.start : span.stop], similar], axis=1)
                named = np.concatenate(
                    [rows[span.start : span.stop], np.broadcast_to(np.asarray(block), similar.shape)], axis=1
                )
                top = np.argpartition(-joined, count - 1, axis=1)[:, :count]
                best[span.start : span.stop] = np.take_along_axis(joined, top, axis=1)
                rows[span.start : span.stop] = np.take_along_axis(named, top, axis=1)
                bar.advance()
    order = np.argsort(-best, axis=1, kind="stable")
    best, rows = np.take_along_axis(best, order, axis=1), np.take_along_axis(rows, order, axis=1)
    rows[unread] = -1  # an image that cannot be read has no vote
    return best, rows


def _vote(
    scores: NDArray[np.float32], nearest: NDArray[np.int64], sentences: int, neighbours: int, cap: int
) -> NDArray[np.bool_]:
    """Which of its candidates every image votes for, ``[N, count]``: rank by rank, the closest images first."""
    accepted = np.zeros(nearest.shape, bool)
    votes, used = np.zeros(sentences, np.int32), np.zeros(len(nearest), np.int32)
    for rank in range(nearest.shape[1]):
        voters = np.flatnonzero((used < neighbours) & (nearest[:, rank] >= 0))
        wanted = nearest[voters, rank]
        order = np.lexsort((-scores[voters, rank], wanted))  # by sentence, the closest image first
        wanted, voters = wanted[order], voters[order]
        first = np.flatnonzero(np.r_[True, wanted[1:] != wanted[:-1]]) if len(wanted) else np.empty(0, np.int64)
        place = np.arange(len(wanted)) - np.repeat(first, np.diff(np.r_[first, len(wanted)]))
        taken = place < cap - votes[wanted]
        accepted[voters[taken], rank] = True
        used[voters[taken]] += 1
        np.add.at(votes, wanted[taken], 1)
    return accepted


def _grounded(
    scores: NDArray[np.float32], nearest: NDArray[np.int64], accepted: NDArray[np.bool_], sentences: int
) -> Grounded:
    image, rank = np.nonzero(accepted)
    rows, values = nearest[image, rank], scores[image, rank]
    votes = np.bincount(rows, minlength=sentences).astype(np.int32)
    best = np.full(sentences, -2.0, np.float32)
    np.maximum.at(best, rows, values)
    of = np.full(sentences, -1, np.int64)
    closest = values == best[rows]
    of[rows[closest]] = image[closest]
    return Grounded(votes, best, of, np.empty(0, np.int64), 0)


def _said_twice(
    grounded: Grounded, texts: FeatureStore, nearest: NDArray[np.int64], accepted: NDArray[np.bool_], alike: float
) -> NDArray[np.bool_]:
    """Which sentences say nearly the same of an image as a better one, ``[M]``: more votes, then the higher cosine."""
    place = np.empty(len(grounded.votes), np.int64)
    place[np.lexsort((-grounded.score, -grounded.votes))] = np.arange(len(grounded.votes))
    pairs: list[tuple[int, int]] = []
    for row in range(len(nearest)):
        chosen = nearest[row, accepted[row]]
        if len(chosen) < 2:
            continue
        embeds = texts[chosen.tolist()].numpy()
        first, other = np.nonzero(np.triu(embeds @ embeds.T >= alike, 1))
        for a, b in zip(chosen[first].tolist(), chosen[other].tolist(), strict=True):
            pairs.append((a, b) if place[a] < place[b] else (b, a))
    dropped = np.zeros(len(grounded.votes), bool)
    for better, worse in sorted(set(pairs), key=lambda pair: place[pair[0]]):
        if not dropped[better]:
            dropped[worse] = True
    return dropped
