"""Labelled images to measure on, whatever they lie in: folders, tar shards, or a set that torchvision knows."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..console import say
from ..errors import EdgeclipError, FormatError
from ..lines import read_lines
from ..pictures import UNREADABLE

TEMPLATES = ("a photo of a {}.",)
BROKEN_LIMIT = 0.05


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
        """The image. Raises one of ``UNREADABLE`` where there is none."""
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
        with Image.open(self.path) as image:
            image.load()
        return image


@dataclass(frozen=True, slots=True)
class BytesExample:
    """An image as it lies in an archive."""

    key: str
    content: bytes
    label: Label

    def decode(self) -> Image.Image:
        """Decode it."""
        image = Image.open(io.BytesIO(self.content))
        image.load()
        return image


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
            except UNREADABLE:
                self.note_broken(example.key)
                continue
            yield image, example.label  # type: ignore[misc]
        self.judge_broken()

    def note_broken(self, key: str) -> None:
        """Remember that an image cannot be read; give up where it is one too many."""
        self.broken.append(key)
        if len(self.broken) > max(1, BROKEN_LIMIT * len(self)):
            raise self._too_many()

    def judge_broken(self) -> None:
        """After the last image: say what was left out, or that it was too much."""
        if len(self.broken) > BROKEN_LIMIT * len(self):
            raise self._too_many()
        if self.broken:
            say(f"{self.name}: {len(self.broken)} unreadable image(s) skipped: {self._named()}")

    def _named(self) -> str:
        return ", ".join(self.broken[:5]) + ("…" if len(self.broken) > 5 else "")

    def _too_many(self) -> EdgeclipError:
        return EdgeclipError(f"{self.name}: over {BROKEN_LIMIT:.0%} of its images cannot be read ({self._named()}, …)")


def open_dataset(where: Path | str, split: str = "test") -> Dataset:
    """Open a data set in any of its layouts.

    Args:
        where: a folder with one folder a class (``folders.py``); a folder in CLIP_benchmark's WebDataset layout, its
            URL, or ``hub:USER/REPO`` (``shards.py``); or ``torchvision:NAME[:FOLDER]`` (``named.py``).
        split: ``train``, ``val`` or ``test``, where the data set is split.

    Raises:
        EdgeclipError: there is nothing of that name, no class with an image in it, or no such split.
        FormatError: one of its files is not as it should be.
    """
    from . import folders, named, shards

    text = str(where)
    if text.startswith(named.PREFIX):
        return named.open_named(text, split)
    if shards.is_remote(text) or shards.is_shards(Path(where), split):
        return shards.open_shards(text, split)
    return folders.open_folder(Path(where), split)


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
