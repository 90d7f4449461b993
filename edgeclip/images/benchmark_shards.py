"""CLIP_benchmark's WebDataset layout: ``classnames.txt``, ``zeroshot_classification_templates.txt``, ``test/*.tar``.

Read as CLIP_benchmark 1.6 reads it, so that what its authors published on a hub, and what its
``clip_benchmark_export_wds`` writes, gives the same numbers here.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..base.errors import EdgeclipError, FormatError
from ..base.lines import read_lines, read_text
from ..base.tars import read_tar
from .labelled import TEMPLATES, BytesExample, Dataset, templates_in
from .location import DatasetLocation, is_remote

__all__ = ["is_remote", "is_shards", "open_shards"]

IMAGES = ("webp", "png", "jpg", "jpeg")
Kind = Literal["classification", "multilabel", "retrieval"]
LABELS: dict[Kind, str] = {"classification": "cls", "multilabel": "npy", "retrieval": "txt"}


def is_shards(folder: Path, split: str) -> bool:
    """Whether ``folder`` is in this layout."""
    return (folder / split / "nshards.txt").is_file() or (folder / "zeroshot_classification_templates.txt").is_file()


def open_shards(where: str, split: str = "test") -> Dataset:
    """Open a data set in this layout: a folder, ``https://…``, or ``hub:USER/REPO``.

    Raises:
        EdgeclipError: a file that the layout demands is not there, or the network cannot be reached.
        FormatError: one of its files is not as it should be.
    """
    location = DatasetLocation(where)
    counted = location.file(f"{split}/nshards.txt")
    if counted is None:
        raise EdgeclipError(f"{where}: no {split}/nshards.txt there: it has no split {split!r}, or is no such data set")
    try:
        count = int(counted.read_text(encoding="utf-8"))
    except (ValueError, OSError):
        count = 0
    if count < 1:
        raise FormatError(f"{where}: {split}/nshards.txt must hold the number of shards")
    kind = _kind(location)
    source = Shards(location, split, count, kind)
    if kind == "retrieval":
        return Dataset(location.name, [], [], source)
    names = location.file("classnames.txt")
    if names is None:
        raise EdgeclipError(f"{where}: no classnames.txt there: one class name a line, in the order of the labels")
    source.classes = len(classnames := [line.strip() for line in read_lines(names)])
    templates = location.file("zeroshot_classification_templates.txt")
    prompts = templates_in(templates, "{c}") if templates else list(TEMPLATES)
    return Dataset(location.name, classnames, [template.strip() for template in prompts], source, kind == "multilabel")


def _kind(location: DatasetLocation) -> Kind:
    file = location.file("dataset_type.txt")
    kind_name = read_text(file).strip().lower() if file else "classification"
    for kind in LABELS:
        if kind_name == kind:
            return kind
    raise FormatError(f"{location.where}: dataset_type.txt says {kind_name!r}; known: {', '.join(LABELS)}")


@dataclass
class Shards:
    """The examples of one split, shard after shard. A remote shard is fetched when it is its turn, and kept."""

    location: DatasetLocation
    split: str
    count: int
    kind: Kind
    classes: int = 0

    def __post_init__(self) -> None:
        self._length: int | None = None

    def _files(self) -> Iterator[Path]:
        for number in range(self.count):
            file = self.location.file(f"{self.split}/{number}.tar")
            if file is None:
                raise EdgeclipError(
                    f"{self.location.where}: {self.split}/{number}.tar is missing; there are {self.count}"
                )
            yield file

    def __len__(self) -> int:
        """Counted once, from the headers of the archives alone."""
        if self._length is None:
            label = "." + LABELS[self.kind]
            self._length = sum(
                name.endswith(label) for file in self._files() for name, _ in read_tar(file, contents=False)
            )
        return self._length

    def __iter__(self) -> Iterator[BytesExample]:
        count = 0
        for file in self._files():
            for key, fields in _grouped(file):
                image = next((fields[kind] for kind in IMAGES if kind in fields), None)
                label = fields.get(LABELS[self.kind])
                if label is None and image is None:
                    continue
                if label is None or image is None:
                    what = f"no .{LABELS[self.kind]}" if label is None else "no image (webp, png, jpg)"
                    raise FormatError(f"{file}: {key} has {what}")
                count += 1
                yield BytesExample(key, image, self._label(label, file, key))
        self._length = count

    def _label(self, content: bytes, file: Path, key: str) -> Any:
        try:
            if self.kind == "retrieval":
                return content.decode("utf-8").splitlines()
            if self.kind == "multilabel":
                several = np.load(io.BytesIO(content), allow_pickle=False).astype(bool)
                if several.shape != (self.classes,):
                    raise ValueError(f"shape {several.shape}, not {(self.classes,)}")
                return several
            label = int(content)
            if not 0 <= label < self.classes:
                raise ValueError(f"{label} is not 0..{self.classes - 1}")
        except (ValueError, UnicodeDecodeError, EOFError) as error:
            raise FormatError(f"{file}: the label of {key} cannot be used ({error})") from error
        return label


def _grouped(file: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """The files of one example lie side by side and share a name up to the first dot: WebDataset's rule."""
    current = ""
    fields: dict[str, bytes] = {}
    for name, content in read_tar(file):
        folder, _, base = name.rpartition("/")
        stem, dot, suffix = base.partition(".")
        if not dot:
            continue
        key = f"{folder}/{stem}" if folder else stem
        if key != current and fields:
            yield current, fields
            fields = {}
        current = key
        fields[suffix.lower()] = content
    if fields:
        yield current, fields
