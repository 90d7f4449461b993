"""Images with a class each, or with captions: a data set, and its examples, which are decoded when asked for."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

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
