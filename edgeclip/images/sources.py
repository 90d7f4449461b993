"""Where images come from: a folder, WebDataset tars, a Hugging Face dataset. Each is a table of encoded images."""

from __future__ import annotations

import hashlib
import io
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..base.console import progress_bar, say
from ..base.errors import EdgeclipError, require
from ..base.files import write_bytes
from ..base.pictures import image_files, is_image, say_others, suffixes
from ..base.strings import DAMAGED, Strings, digest
from ..base.tars import index_tar
from ..base.visible import some_of
from .shardnames import REMOTE, First, local_shards, shards

HUGGING_FACE = "hf:"


class Source(Protocol):
    """Images by row number, as encoded bytes."""

    def __len__(self) -> int: ...

    def key(self, row: int) -> str:
        """What a person finds the image by."""
        ...

    def read(self, row: int) -> bytes:
        """The encoded image."""
        ...

    def stamp(self, rows: range) -> str:
        """What changes when one of the images does, as far as that is known without reading them."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 over every key, in order: equal digests mean equal rows."""
        ...


def open_source(name: str, cache: Path, first: First = nullcontext) -> Source:
    """Open a folder, ``shard-{000..099}.tar`` (also with ``*``, also at URLs), or ``hf:NAME[:SPLIT]``.

    Args:
        name: as above.
        cache: where shards from URLs, and the index of every shard, are kept.
        first: lets one of several processes fetch what the others then find.

    Raises:
        EdgeclipError: nothing is there, or no images are in it.
        MissingExtra: a Hugging Face dataset, and no ``datasets`` to read it.
    """
    if name.startswith(HUGGING_FACE):
        return HuggingFace(name.removeprefix(HUGGING_FACE))
    if name.endswith(".tar"):
        return Tars(shards(name, cache, first), cache / "index")
    return Folder(Path(name))


def refuse_missing(name: str) -> None:
    """Find out early what :func:`open_source` would refuse, as far as that takes no download and no long look.

    Raises:
        EdgeclipError: there is no such folder or no image in it, or no such shard.
    """
    if name.endswith(".tar") and not name.startswith(REMOTE):
        local_shards(name)
    elif not name.startswith((HUGGING_FACE, *REMOTE)):
        if not Path(name).is_dir():
            raise EdgeclipError(f"{name}: no such folder of images")
        if next(image_files(Path(name)), None) is None:
            raise EdgeclipError(f"{name}: no image files found (accepted: {', '.join(suffixes())})")


def located(name: str | Path) -> str:
    """The same source whatever the working directory: local paths made absolute."""
    text = str(name)
    return text if text.startswith((HUGGING_FACE, *REMOTE)) else os.path.abspath(text)  # noqa: PTH100 (keeps braces)


def find_images(folder: Path) -> list[Path]:
    """Every image file below ``folder``, sorted.

    Raises:
        EdgeclipError: there is no such folder, or no image in it.
    """
    return Folder(folder).files()


class Folder:
    """Every image file below a folder, sorted by its path."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise EdgeclipError(f"{folder}: no such folder of images")
        others: Counter[str] = Counter()
        self._folder, self._names = folder, Strings(sorted(image_files(folder, others)))
        say_others(others, folder.name)
        if not len(self._names):
            raise EdgeclipError(f"{folder}: no image files found (accepted: {', '.join(suffixes())})")

    def __len__(self) -> int:
        return len(self._names)

    def key(self, row: int) -> str:
        """The path below the folder."""
        return self._names[row]

    def read(self, row: int) -> bytes:
        """The file's content."""
        return (self._folder / self._names[row]).read_bytes()

    def stamp(self, rows: range) -> str:
        """Of the files' sizes and times of the last change."""
        states = (os.stat(os.path.join(self._folder, self._names[row])) for row in rows)  # noqa: PTH116, PTH118 (half the time)
        return digest(f"{state.st_size} {state.st_mtime_ns}" for state in states)

    def files(self) -> list[Path]:
        """The files themselves."""
        return [self._folder / name for name in self._names]

    @cached_property
    def digest(self) -> str:
        """Over the paths."""
        return self._names.digest


class Tars:
    """The images in uncompressed tars, read in place: nothing is unpacked, so no path in a tar can do harm."""

    def __init__(self, files: Sequence[Path], index: Path) -> None:
        self._files = list(files)
        states = [file.stat() for file in self._files]
        self._stamps = [f"{state.st_size} {state.st_mtime_ns}" for state in states]
        blocks, parts, empty = [], [], []
        with progress_bar("index shards", len(self._files)) as bar:
            for number, file in enumerate(self._files):
                names, places = _indexed(file, index)
                blocks.append(names)
                parts.append(np.column_stack([np.full(len(places), number), places]))
                if not len(places):
                    empty.append(file.name)
                bar.advance()
        if empty:
            say(f"{len(empty)} shard(s) without an image: {some_of(empty)}")
        self._names = Strings.of_block(b"".join(blocks))
        self._places = np.concatenate(parts)  # int64 [N, 3]: shard, offset, size
        if not len(self._names):
            raise EdgeclipError(f"{self._files[0]}: no images in {len(self._files)} shard(s)")

    def __len__(self) -> int:
        return len(self._names)

    def key(self, row: int) -> str:
        """Shard and member."""
        return f"{self._files[self._places[row, 0]].name}/{self._names[row]}"

    def read(self, row: int) -> bytes:
        """The member's content."""
        shard, offset, size = self._places[row].tolist()
        with self._files[shard].open("rb", buffering=0) as file:
            return os.pread(file.fileno(), size, offset)

    def stamp(self, rows: range) -> str:
        """Of the shards that hold them."""
        return digest(self._stamps[shard] for shard in np.unique(self._places[rows.start : rows.stop, 0]))

    @cached_property
    def digest(self) -> str:
        """Over the keys."""
        shards = hashlib.sha256(self._places[:, 0].astype("<i8").tobytes()).hexdigest()
        return digest([*(file.name for file in self._files), shards, self._names.digest])


class HuggingFace:
    """The first image column of a split of a ``datasets`` dataset, on the hub or on disk."""

    def __init__(self, name: str) -> None:
        datasets: Any = require("datasets", "huggingface")
        where, _, split = name.partition(":")
        try:
            if (Path(where) / "state.json").is_file():
                dataset = datasets.load_from_disk(where)
            else:
                dataset = datasets.load_dataset(where, split=split or "train")
        except Exception as error:  # a dozen kinds, of datasets', huggingface_hub's and requests'
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise EdgeclipError(f"hf:{name} cannot be opened: {reason}") from error
        columns = [key for key, kind in dataset.features.items() if isinstance(kind, datasets.Image)]
        if not columns:
            raise EdgeclipError(f"hf:{name} has no column of images, only {', '.join(dataset.features)}")
        self._name, self._column, self._fingerprint = name, columns[0], str(dataset._fingerprint)
        self._rows = dataset.cast_column(self._column, datasets.Image(decode=False))

    def __len__(self) -> int:
        return len(self._rows)

    def key(self, row: int) -> str:
        """Dataset and row."""
        return f"{self._name}#{row}"

    def read(self, row: int) -> bytes:
        """The row's encoded image; empty where the row has none, which counts as unreadable."""
        image = self._rows[row][self._column]
        if image is None:
            return b""
        return image["bytes"] if image["bytes"] is not None else Path(image["path"]).read_bytes()

    def stamp(self, rows: range) -> str:
        """The dataset's own fingerprint."""
        return self._fingerprint

    @cached_property
    def digest(self) -> str:
        """Over the dataset's own fingerprint."""
        return digest([self._name, self._fingerprint, str(len(self))])


def _indexed(file: Path, folder: Path) -> tuple[bytes, np.ndarray]:
    """Names of a tar's images as a block, and where they lie: int64 ``[n, 2]``, offset and size. Kept in ``folder``."""
    state = file.stat()
    mark = digest([str(file.absolute()), str(state.st_size), str(state.st_mtime_ns)])[:24]
    kept = folder / f"{mark}.npz"
    if kept.is_file():
        try:
            with kept.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
                return arrays["names"].tobytes(), arrays["places"]
        except DAMAGED:
            say(f"{kept} is damaged: {file} is indexed again")
    members = [member for member in index_tar(file) if is_image(member[0])]
    block = Strings(name for name, _, _ in members).block
    places = np.array([place for _, *place in members], np.int64).reshape(-1, 2)
    content = io.BytesIO()
    np.savez(content, names=np.frombuffer(block, np.uint8), places=places)
    write_bytes(kept, content.getvalue())
    return block, places
