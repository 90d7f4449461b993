"""A data set as people have it at hand: one folder a class, or images beside their captions."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..base.console import say
from ..base.errors import EdgeclipError, FormatError
from ..base.lines import read_lines
from ..base.pictures import image_files, say_others
from ..base.visible import some_of
from .labelled import Dataset, FileExample, templates_in
from .layout import folders_in, layout_of, split_in

CAPTIONS = "captions.tsv"
WORDNET = re.compile(r"n\d{8}")


def open_folder(folder: Path, split: str = "test") -> Dataset:
    """Open a folder with one folder a class, or with ``captions.tsv`` in it.

    ``classnames.txt`` may name the classes (``folder<TAB>class name`` a line; else the folders' names are used), and
    ``templates.txt`` the prompts (``{}`` stands for the class name, one a line; else "a photo of a {}."). The classes
    may lie in folders of splits, or further down: see ``layout.py``. ``captions.tsv`` holds
    ``image file<TAB>caption`` a line, an image on as many lines as it has captions.

    Raises:
        EdgeclipError: no such folder or split, or no class with an image in it.
        FormatError: a line of one of the files is not as it should be, or a folder has no name there.
    """
    if not folder.is_dir():
        raise EdgeclipError(f"{folder}: no such dataset folder")
    inner = _split_of(folder, split)
    if (inner / CAPTIONS).is_file():
        return _captioned(inner, folder.name)
    folders = folders_in(inner)
    named = _beside(inner, folder, "classnames.txt")
    names = classnames_in(named, [path.name for path in folders])
    items: list[FileExample] = []
    classnames: list[str] = []
    empty: list[str] = []
    others: Counter[str] = Counter()
    for path in folders:
        images = sorted(path / name for name in image_files(path, others))
        if images:
            items += [FileExample(image, len(classnames)) for image in images]
            classnames.append(names[path.name])
        else:
            empty.append(path.name)
    say_others(others, folder.name)
    if not items:
        raise EdgeclipError(f"{folder}: no class folder contains images: a dataset has one folder per class")
    if empty:
        say(f"{folder.name}: {len(empty)} class folder(s) without an image count as no class: {some_of(empty)}")
    if not named.is_file():
        _say_unnamed(folder.name, classnames)
    return Dataset(folder.name, classnames, templates_in(_beside(inner, folder, "templates.txt")), items)


def is_split(folder: Path) -> bool:
    """Whether a folder holds its images in ``train/``, ``test/`` and the like."""
    return not (folder / CAPTIONS).is_file() and bool(layout_of(folder).splits)


def _split_of(folder: Path, split: str) -> Path:
    """The folder that holds the split's classes, or its captions."""
    captioned = folder / CAPTIONS
    if captioned.is_file() or (folder / split / CAPTIONS).is_file():
        if split != "test" and captioned.is_file():
            raise EdgeclipError(f"{folder}: it is not split into train/ and test/, so it has no {split}")
        return folder if captioned.is_file() else folder / split
    return split_in(layout_of(folder), split)


def _say_unnamed(name: str, folders: Sequence[str]) -> None:
    """Names that mean nothing to a teacher."""
    ids = all(map(WORDNET.fullmatch, folders))
    if ids or all(map(str.isdecimal, folders)):
        called = "WordNet's ids (timm.data.ImageNetInfo knows ImageNet's)" if ids else "numbers"
        say(
            f"{name}: its classes are called by {called}, which mean nothing to a teacher: name them in classnames.txt,"
            f" one per line: {folders[0]}<TAB>NAME"
        )


def _beside(inner: Path, folder: Path, name: str) -> Path:
    """The split's own file, or the one of all splits."""
    return inner / name if (inner / name).is_file() else folder / name


def classnames_in(file: Path, folders: list[str]) -> dict[str, str]:
    """The class name of each folder: from ``file`` (``folder<TAB>class name`` a line), or its own where there is none.

    Raises:
        FormatError: a line has no tab, or a folder is not in it.
    """
    if not file.is_file():
        return {name: composed(name) for name in folders}
    names, there = {}, {composed(name): name for name in folders}
    for number, line in enumerate(read_lines(file), 1):
        key, tab, name = line.partition("\t")
        if not tab or not name.strip():
            raise FormatError(f"{file}:{number}: expected a folder, a tab and the class's name")
        names[there.get(composed(key), key)] = name.strip()
    unnamed = [name for name in folders if name not in names]
    if unnamed:
        raise FormatError(f"{file}: {len(unnamed)} folder(s) have no class name there ({', '.join(unnamed[:3])})")
    if gone := [name for name in names if name not in folders]:
        say(f"{file}: {len(gone)} name(s) of folders that are not there count as no class: {some_of(gone)}")
    return names


def _captioned(folder: Path, name: str) -> Dataset:
    captions: dict[str, list[str]] = {}
    for number, line in enumerate(read_lines(folder / CAPTIONS), 1):
        image, tab, caption = line.partition("\t")
        if not tab or not caption.strip():
            raise FormatError(f"{folder / CAPTIONS}:{number}: expected an image file, a tab and its caption")
        if Path(image).is_absolute() or ".." in Path(image).parts:
            raise FormatError(f"{folder / CAPTIONS}:{number}: {image} leaves the folder")
        captions.setdefault(image, []).append(caption.strip())
    if not captions:
        raise FormatError(f"{folder / CAPTIONS}: no captions in it")
    there = {composed(file): file for file in image_files(folder)}
    examples = [FileExample(folder / there.get(composed(image), image), texts) for image, texts in captions.items()]
    return Dataset(name, [], [], examples)


def composed(name: str) -> str:
    """A name in Unicode's composed form: macOS' file systems take the letters of theirs apart."""
    return unicodedata.normalize("NFC", name)
