"""Labelled images to measure on, whatever they lie in: folders, tar shards, or a set that torchvision knows."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..base.console import say
from ..base.decode import UnreadableImage, read_image
from ..base.errors import FormatError
from ..base.lines import read_lines
from ..base.pictures import refuse_too_many_broken, say_skipped

TEMPLATES = ("a photo of a {}.",)


Label = int | NDArray[np.bool_] | Sequence[str]  # a class; where it has several, which [C]; or captions


class Example(Protocol):
    """One image that was not decoded yet, and what it shows."""

    @property
    def key(self) -> str:
        """How it is named when it cannot be read."""
        ...

    @property
    def label(self) -> Label:
        """What it shows."""
        ...

    def decode(self) -> Image.Image:
        """The image.

        Raises:
            UnreadableImage: there is none.
        """
        ...


@dataclass(frozen=True, slots=True)
class FileExample:
    """An image file."""

    path: Path
    label: Label

    @property
    def key(self) -> str:
        """The file's name."""
        return self.path.name

    def decode(self) -> Image.Image:
        """Read and decode the file."""
        return read_image(self.path)


@dataclass(frozen=True, slots=True)
class BytesExample:
    """An image as it lies in an archive."""

    key: str
    content: bytes
    label: Label

    def decode(self) -> Image.Image:
        """Decode it."""
        return read_image(io.BytesIO(self.content), self.key)


class Source(Protocol):
    """Where the examples come from; it can be gone through again and again."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Example]: ...


@dataclass
class Dataset:
    """Images with the number of their class, or with captions. Iterating decodes them."""

    name: str
    classnames: list[str]  # empty where the images have captions
    templates: list[str]  # each with {} for the class name
    source: Source
    several: bool = False  # an image may be of several classes: labels are bool [C]
    copies: int = 0  # files that were left out, since the same picture is there under the same label: see copies.py
    broken: list[str] = field(default_factory=list)  # found unreadable while iterating

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[tuple[Image.Image, int]]:
        """Decoded images and labels. Unreadable images are left out, counted and named.

        Raises:
            EdgeclipError: more than 5 % of the images cannot be read.
        """
        self.broken = []
        for example in self.source:
            try:
                image = example.decode()
            except UnreadableImage:
                self.note_broken(example.key)
                continue
            yield image, example.label  # type: ignore[misc]
        say_skipped(self.broken, self.name)

    def note_broken(self, key: str) -> None:
        """Remember that an image cannot be read; give up where it is one too many."""
        self.broken.append(key)
        refuse_too_many_broken(self.broken, len(self), self.name)


@dataclass(frozen=True, slots=True)
class Renumbered:
    """An example under another class number."""

    example: Example
    label: int

    @property
    def key(self) -> str:
        """The example's."""
        return self.example.key

    def decode(self) -> Image.Image:
        """The example's image."""
        return self.example.decode()


@dataclass
class Some:
    """The examples of some classes of a source, renumbered."""

    source: Source
    new: dict[int, int]  # class number in the source -> here
    every: bool = False  # all of its classes are here

    def __len__(self) -> int:
        return len(self.source) if self.every else sum(1 for example in self.source if example.label in self.new)

    def __iter__(self) -> Iterator[Example]:
        for example in self.source:
            label = self.new.get(example.label)  # type: ignore[arg-type]
            if label is not None:
                yield Renumbered(example, label)


def open_dataset(where: Path | str, split: str = "test", *, keep_duplicates: bool = False) -> Dataset:
    """Open a data set in any of its layouts.

    Args:
        where: a folder with one folder a class (``folders.py``); a folder in CLIP_benchmark's WebDataset layout, its
            URL, or ``hub:USER/REPO`` (``shards.py``); or ``torchvision:NAME[:FOLDER]`` (``named.py``).
        split: ``train``, ``val`` or ``test``, where the data set is split.
        keep_duplicates: classes of one name stay several classes, as open_clip and CLIP_benchmark count; nobody can
            tell them apart, so that otherwise they are one.

    Raises:
        EdgeclipError: there is nothing of that name, no class with an image in it, or no such split.
        FormatError: one of its files is not as it should be.
    """
    from . import folders, named, shards

    text = str(where)
    if text.startswith(named.PREFIX):
        found = named.open_named(text, split)
    elif shards.is_remote(text) or shards.is_shards(Path(where), split):
        found = shards.open_shards(text, split)
    else:
        found = folders.open_folder(Path(where), split)
    return found if keep_duplicates or found.several else merged(found)


def is_unsplit(where: str) -> bool:
    """Whether it is a folder of classes that nobody has split into training and test images."""
    from . import folders, named, shards

    if where.startswith(named.PREFIX) or shards.is_remote(where) or shards.is_shards(Path(where), "test"):
        return False
    return not folders.is_split(Path(where))


def merged(dataset: Dataset) -> Dataset:
    """``dataset`` with classes of one name as one class; which they are is said."""
    names = list(dict.fromkeys(dataset.classnames))
    if len(names) == len(dataset.classnames):
        return dataset
    twice = [name for name, count in Counter(dataset.classnames).items() if count > 1]
    shown = ", ".join(twice[:5]) + (", …" if len(twice) > 5 else "")
    say(f"{dataset.name}: duplicate class names count as one class: {shown}")
    new = {row: names.index(name) for row, name in enumerate(dataset.classnames)}
    return Dataset(dataset.name, names, dataset.templates, Some(dataset.source, new, every=True))


def templates_in(file: Path, mark: str = "{}") -> list[str]:
    """The templates in ``file``, one a line, ``mark`` standing for the class name; the default where there is no file.

    Raises:
        FormatError: a line lacks the mark, or there is no line.
    """
    if not file.is_file():
        return list(TEMPLATES)
    templates = read_lines(file)
    for number, template in enumerate(templates, 1):
        if template.count(mark) != 1:
            raise FormatError(f"{file}:{number}: a template holds {mark} once, where the class name goes")
    if not templates:
        raise FormatError(f"{file}: no templates in it: remove it to use the default")
    return [template.replace(mark, "{}") for template in templates]
