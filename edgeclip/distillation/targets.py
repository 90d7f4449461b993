"""What the teachers make of the images and the sentences: computed once, kept in feature stores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..base.files import refuse_too_large
from ..base.folders import cache_folder
from ..base.pictures import say_skipped
from ..base.strings import StringsOnDisk, digest
from ..data.processes import processes, views_device
from ..data.squares import Images
from ..data.store import Embed, FeatureStore, StoreDocument, feature_store
from ..data.views import Views
from .config import DistillConfig
from .objectives import Embeddings
from .teachers import StoredTeacher, Teacher, folder_name, keep_teacher

KINDS = IMAGES, TEXTS = "images", "texts"  # folders of a teacher's stores


@dataclass
class Targets:
    """Every teacher's embeddings of every view and of the sentences."""

    folder: Path  # where they lie
    images: list[FeatureStore]  # one a teacher
    texts: list[FeatureStore]
    rows: np.ndarray  # int64: the images that can be read
    broken: list[str]  # keys of those that cannot

    def batch(self, view: int, rows: Sequence[int], sentences: Sequence[int]) -> list[Embeddings]:
        """The teachers' embeddings of one view of some images, and of some sentences."""
        pairs = zip(self.images, self.texts, strict=True)
        return [Embeddings(images.view(view, rows), texts[sentences]) for images, texts in pairs]


def find_targets(
    folder: Path | None,
    config: DistillConfig,
    teachers: Sequence[Teacher],
    images: Images,
    sentences: StringsOnDisk,
    views: Views,
) -> Targets:
    """Open the teachers' stores, computing what is missing.

    Args:
        folder: where they lie; None: in the user's cache, under a name of all that they depend on, so that whatever
            depends on the same shares them.
        config: how many views there are, how they differ, and how embeddings are stored.
        teachers: whose embeddings they are.
        images: these of the views.
        sentences: and these.
        views: what is seen of the images.

    Raises:
        FormatError: a store is of other images, sentences, views or teachers, or was altered.
        EdgeclipError: over 5 % of the images cannot be read, or a teacher that is not at hand is needed.
    """
    folder, planned = _planned(folder, config, teachers, images, sentences)
    targets = Targets(folder, [], [], np.empty(0, np.int64), [])
    for teacher, teacher_folder, looks, reads in planned:
        if processes().is_main_process:
            keep_teacher(teacher, teacher_folder)
        targets.texts.append(
            feature_store(
                teacher_folder / TEXTS,
                f"embed sentences ({teacher.name})",
                reads,
                sentence_embedder(teacher, sentences),
            )
        )
        title = f"embed images ({teacher.name}, {config.views} views each)"
        embed = image_embedder(teacher, images, views, config.views)
        targets.images.append(feature_store(teacher_folder / IMAGES, title, looks, embed, images.source))
    broken = targets.images[0].broken
    targets.rows = np.delete(np.arange(len(images)), broken)
    targets.broken = [images.source.key(row) for row in broken]
    say_skipped(targets.broken, "images")
    return targets


def refuse_no_room(
    folder: Path | None, config: DistillConfig, teachers: Sequence[Teacher], images: Images, sentences: StringsOnDisk
) -> None:
    """Refuse before any work what :func:`find_targets` could not write, less what is there already.

    Raises:
        EdgeclipError: with how much is needed and free.
    """
    folder, planned = _planned(folder, config, teachers, images, sentences)
    stores = [
        FeatureStore(teacher_folder / name, document)
        for _, teacher_folder, *both in planned
        for name, document in zip(KINDS, both, strict=True)
    ]
    refuse_too_large(folder, sum(store.missing_bytes(store.shards) for store in stores))


def _planned(
    folder: Path | None, config: DistillConfig, teachers: Sequence[Teacher], images: Images, sentences: StringsOnDisk
) -> tuple[Path, list[tuple[Teacher, Path, StoreDocument, StoreDocument]]]:
    """Where the stores lie, and of each teacher its folder, and what its stores of views and of sentences are of."""
    documents = [_documents(teacher, config, images, sentences) for teacher in teachers]
    if folder is None:
        name = digest(document.model_dump_json() for pair in documents for document in pair)
        folder = cache_folder() / "stores" / name[:16]
    owns = [
        wrapped.folder if isinstance(wrapped, StoredTeacher) else folder / folder_name(wrapped) for wrapped in teachers
    ]
    return folder, [
        (teacher, teacher_folder, *pair)
        for teacher, teacher_folder, pair in zip(teachers, owns, documents, strict=True)
    ]


def _documents(
    teacher: Teacher, config: DistillConfig, images: Images, sentences: StringsOnDisk
) -> tuple[StoreDocument, StoreDocument]:
    """What the stores of a teacher's views and of its sentences are made of."""
    reads = StoreDocument(
        fingerprint={"teacher": teacher.fingerprint, "sentences": sentences.digest},
        rows=len(sentences),
        dim=teacher.embed_dim,
        dtype=config.store_dtype,
    )
    seen = {
        "teacher": teacher.fingerprint,
        "images": images.source.digest,
        "square": images.square.model_dump_json(exclude={"mean", "std"}, exclude_none=True),
        "augment": config.augment.model_dump_json(),
        "seed": f"{config.seed}, by key",
    }
    return reads.model_copy(update={"fingerprint": seen, "rows": len(images), "views": config.views}), reads


def sentence_embedder(teacher: Teacher, sentences: StringsOnDisk) -> Embed:
    """What a teacher makes of sentences, for a store."""

    def embed(rows: Sequence[int]) -> tuple[np.ndarray, list[int]]:
        return teacher.encode_text(sentences.some(rows))[:, None], []

    return embed


def image_embedder(teacher: Teacher, images: Images, views: Views, count: int) -> Embed:
    """What a teacher makes of the first ``count`` views of images, for a store."""

    def embed(rows: Sequence[int]) -> tuple[np.ndarray, list[int]]:
        pixels, broken = images.decode(rows)
        squares, seeds = pixels.to(views_device()), images.seeds(rows)
        seen = torch.cat([views.apply(squares, seeds, view) for view in range(count)])
        embeds = teacher.encode_squares(seen).reshape(count, len(rows), -1)
        return embeds.transpose(1, 0, 2), broken

    return embed
