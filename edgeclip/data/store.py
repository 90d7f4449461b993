"""The feature store: a teacher's embeddings on disk, bound by a fingerprint to what they were made from.

Written shard by shard, so that extraction goes on where it was interrupted; each shard is a safetensors file that
carries its own checksum, so that processes can fill one store side by side. Rows are read from disk when they are
asked for: a store of any size takes no memory of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor

from ..base.console import progress_bar, say
from ..base.documents import Document, Size, Width, read_document
from ..base.errors import FormatError
from ..base.files import refuse_too_large, write_bytes
from ..base.pictures import refuse_too_many_broken
from ..base.strings import digest
from ..images.sources import Source
from .processes import processes

ROWS, MANY_ROWS = 1024, 16384  # per shard: what an interruption may cost; more where there would be files by thousands
MANY = 1 << 20  # rows from which shards are the larger kind
BATCH, GPU_BATCH = 64, 256  # rows that the teacher is given at once
# Row numbers -> embeddings float32 [n, views, dim], and which of the rows could not be read (theirs are ignored).
Embed = Callable[[Sequence[int]], tuple[np.ndarray, list[int]]]


class StoreDocument(Document):
    """``store.json``: what the shards hold and what they depend on."""

    FORMAT: ClassVar[str] = "edgeclip-store"
    VERSION: ClassVar[int] = 6
    SEALED: ClassVar[int | None] = 6

    fingerprint: dict[str, str]  # name -> value of everything that the embeddings depend on
    rows: Size
    views: Size = 1
    dim: Width
    dtype: Literal["float32", "float16"] = "float32"


class Damaged(FormatError):
    """A shard's bytes are not those that were written: a disk's fault, which computing it again mends."""


class FeatureStore:
    """Embeddings on disk: ``store[rows]`` and ``store.view(v, rows)`` are float32 ``[len(rows), dim]``."""

    def __init__(self, folder: Path, document: StoreDocument) -> None:
        self.folder, self.document = folder, document
        self.shard_rows = MANY_ROWS if document.rows >= MANY else ROWS
        self.shards = range(-(-document.rows // self.shard_rows))
        self._data_at: dict[int, int] = {}  # shard -> where its numbers begin, bytes
        self._broken: dict[int, list[int]] = {}  # shard -> rows that could not be read

    def __len__(self) -> int:
        return self.document.rows

    def __getitem__(self, rows: Sequence[int]) -> Tensor:
        """Read rows, in the order asked for.

        Raises:
            IndexError: a row is not in the store.
        """
        return self.view(0, rows)

    def view(self, view: int, rows: Sequence[int]) -> Tensor:
        """Read one view of some rows: float32 ``[len(rows), dim]``."""
        kind = np.dtype("<f4" if self.document.dtype == "float32" else "<f2")
        embeds = np.empty((len(rows), self.document.dim), np.float32)
        by_shard: dict[int, list[int]] = {}
        for place, row in enumerate(rows):
            if not 0 <= row < len(self):
                raise IndexError(f"row {row} of {len(self)}")
            by_shard.setdefault(row // self.shard_rows, []).append(place)
        width = kind.itemsize * self.document.dim
        for shard, places in by_shard.items():
            with self.file(shard).open("rb", buffering=0) as file:
                for place in places:
                    at = (rows[place] % self.shard_rows) * self.document.views + view
                    data = os.pread(file.fileno(), width, self._data_at[shard] + width * at)
                    embeds[place] = np.frombuffer(data, kind)
        return torch.from_numpy(embeds)

    @property
    def broken(self) -> list[int]:
        """Rows that could not be read, sorted; what the store holds of them means nothing."""
        return sorted(row for rows in self._broken.values() for row in rows)

    def file(self, shard: int) -> Path:
        """Where a shard lies."""
        return self.folder / f"part-{shard:05d}.safetensors"

    def span(self, shard: int) -> range:
        """The rows of a shard."""
        return range(shard * self.shard_rows, min((shard + 1) * self.shard_rows, len(self)))

    def missing_bytes(self, shards: Sequence[int]) -> int:
        """How much is still to be written of some shards."""
        rows = sum(len(self.span(shard)) for shard in shards if not self.file(shard).is_file())
        return rows * self.document.views * self.document.dim * np.dtype(self.document.dtype).itemsize

    def write(
        self, shard: int, embeds: NDArray[np.float32], broken: Sequence[int], source: Source | None = None
    ) -> None:
        """Write one shard ``[n, views, dim]``, atomically, with a hash of the images that it is of.

        Raises:
            FormatError: it holds NaN or infinity.
        """
        if not np.isfinite(embeds).all():
            raise FormatError("the teacher gave NaN or infinity for some rows: it cannot be distilled from")
        values = np.ascontiguousarray(embeds, self.document.dtype)  # safetensors writes memory as it lies
        notes = {"sha256": _digest(values), "broken": json.dumps(list(broken))}
        if source is not None:
            notes |= {"stamp": self._stamp(shard, source), "content": self._content(shard, source)}
        write_bytes(self.file(shard), save({"embeds": values}, metadata=notes))

    def _stamp(self, shard: int, source: Source) -> str:
        return source.stamp(self.span(shard))

    def _content(self, shard: int, source: Source) -> str:
        """Of the images' bytes; one that is gone counts as empty."""

        def of(row: int) -> str:
            try:
                return hashlib.sha256(source.read(row)).hexdigest()
            except OSError:
                return ""

        return digest(map(of, self.span(shard)))

    def _changed(self, shard: int, notes: Mapping[str, str], source: Source) -> bool:
        """Whether the images are others. Where they only look so (copied files have another time) they are read."""
        return notes.get("stamp") != self._stamp(shard, source) and notes.get("content") != self._content(shard, source)

    def check(self, shard: int, source: Source | None = None) -> None:
        """Hold a shard against its checksum, and against the images that it is of where they look changed.

        Raises:
            Damaged: its bytes are not those that were written.
            FormatError: it is another kind of file, or of other images.
        """
        file = self.file(shard)
        shape = (len(self.span(shard)), self.document.views, self.document.dim)
        try:
            with safe_open(file, framework="np") as tensors:
                embeds, notes = tensors.get_tensor("embeds"), tensors.metadata() or {}
            broken = json.loads(notes.get("broken", "[]"))
        except (OSError, ValueError, SafetensorError) as error:
            raise Damaged(f"{file} is missing or altered") from error
        if embeds.shape != shape or embeds.dtype != self.document.dtype or "sha256" not in notes:
            raise FormatError(f"{file} is of another kind: remove it to make it again")
        if notes["sha256"] != _digest(embeds):
            raise Damaged(f"{file} is missing or altered")
        if not np.isfinite(embeds).all():
            raise FormatError(f"{file} holds NaN or infinity: remove it to make it again")
        if source is not None and self._changed(shard, notes, source):
            which = f"{source.key(self.span(shard)[0])} to {source.key(self.span(shard)[-1])}"
            raise FormatError(f"{file} is of other images than are there now ({which}): remove it to make it again")
        self._data_at[shard] = file.stat().st_size - embeds.nbytes
        self._broken[shard] = broken


def feature_store(
    folder: Path, title: str, document: StoreDocument, embed: Embed, source: Source | None = None
) -> FeatureStore:
    """The store in ``folder``. What is missing or damaged is computed, shard by shard; processes share the shards out.

    Args:
        folder: made if it is not there.
        title: for the progress bar.
        document: what the store must be.
        embed: computes some rows.
        source: the images, where the rows are of such: what was made of others under the same names is refused.

    Raises:
        FormatError: the store was made of something else (the text says of what), or a shard is no such file.
        EdgeclipError: more than 5 % of the rows cannot be read.
    """
    state, key = processes(), source.key if source else str
    with state.main_process_first():
        _agree(folder / "store.json", document)
    store = FeatureStore(folder, document)
    shards = store.shards[state.process_index :: state.num_processes]
    refuse_too_large(folder, store.missing_bytes(shards))
    with progress_bar(title, sum(len(store.span(shard)) for shard in shards)) as bar:
        for shard in shards:
            if _there(store, shard, source):
                bar.advance(len(store.span(shard)))
            else:
                store.write(shard, *_compute(store.span(shard), embed, bar.advance), source)
                store.check(shard, source)
            refuse_too_many_broken([key(row) for row in store.broken], len(store), title)
    state.wait_for_everyone()
    for shard in set(store.shards) - set(shards):
        store.check(shard, source)
    refuse_too_many_broken([key(row) for row in store.broken], len(store), title)
    return store


def _there(store: FeatureStore, shard: int, source: Source | None) -> bool:
    """Whether a shard need not be computed; of one that is damaged the user is told."""
    if not store.file(shard).is_file():
        return False
    try:
        store.check(shard, source)
    except Damaged as error:
        say(f"{error}: it is made again")
        return False
    return True


def _agree(index: Path, wanted: StoreDocument) -> None:
    """Write ``store.json``, or find it asking for the same."""
    if not index.is_file():
        wanted.save(index)
        return
    document = read_document(index, StoreDocument)
    changed = [name for name, value in wanted.fingerprint.items() if document.fingerprint.get(name) != value]
    shape = ("rows", "views", "dim", "dtype")
    changed += [name for name in shape if getattr(document, name) != getattr(wanted, name)]
    if changed:
        raise FormatError(f"{index.parent} differs in {', '.join(changed)}: remove it to make it again")


def _compute(span: range, embed: Embed, advance: Callable[[float], None]) -> tuple[NDArray[np.float32], list[int]]:
    blocks, broken, batch = [], [], BATCH if processes().device.type == "cpu" else GPU_BATCH
    for start in range(span.start, span.stop, batch):
        rows = range(start, min(start + batch, span.stop))
        embeds, unread = embed(rows)
        blocks.append(np.asarray(embeds, np.float32))
        broken += unread
        advance(len(rows))
    return np.concatenate(blocks), broken


def _digest(embeds: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(embeds).tobytes()).hexdigest()
