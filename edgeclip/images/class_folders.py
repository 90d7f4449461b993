"""A data set as people have it at hand: one folder a class, or images beside their captions."""

from __future__ import annotations

from pathlib import Path

from ..base.console import say
from ..base.errors import EdgeclipError, FormatError
from ..base.lines import read_lines
from ..base.pictures import image_files
from .labelled import Dataset, FileExample, templates_in

SPLITS = {"train", "val", "validation", "valid", "test"}
CAPTIONS = "captions.tsv"


def open_folder(folder: Path, split: str = "test") -> Dataset:
    """Open a folder with one folder a class, or with ``captions.tsv`` in it.

    ``classnames.txt`` may name the classes (``folder<TAB>class name`` a line; else the folders' names are used), and
    ``templates.txt`` the prompts (``{}`` stands for the class name, one a line; else "a photo of a {}."). Where all
    folders are called ``train``, ``val`` or ``test``, the classes lie in those. ``captions.tsv`` holds
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
    folders = _folders(inner)
    names = classnames_in(_beside(inner, folder, "classnames.txt"), [path.name for path in folders])
    items: list[FileExample] = []
    classnames: list[str] = []
    empty: list[str] = []
    for path in folders:
        images = sorted(path / name for name in image_files(path))
        if images:
            items += [FileExample(image, len(classnames)) for image in images]
            classnames.append(names[path.name])
        else:
            empty.append(path.name)
    if not items:
        raise EdgeclipError(f"{folder}: no class folder contains images: a dataset has one folder per class")
    if empty:
        shown = ", ".join(empty[:5]) + (", …" if len(empty) > 5 else "")
        say(f"{folder.name}: {len(empty)} class folder(s) without an image count as no class: {shown}")
    return Dataset(folder.name, classnames, templates_in(_beside(inner, folder, "templates.txt")), items)


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def is_split(folder: Path) -> bool:
    """Whether ``train/``, ``test/`` and the like are all that a folder holds."""
    there = {path.name for path in _folders(folder)}
    return bool(there) and there <= SPLITS and not (folder / CAPTIONS).is_file()


def _split_of(folder: Path, split: str) -> Path:
    """The folder that holds the split's classes: ``folder`` itself where it is not split."""
    there = {path.name for path in _folders(folder)}
    if not is_split(folder):
        if split != "test":
            raise EdgeclipError(f"{folder}: it is not split into train/ and test/, so it has no {split}")
        return folder
    split_name = next((name for name in _names_of(split) if name in there), None)
    if split_name is None:
        raise EdgeclipError(f"{folder}: no split {split!r} there; it has {', '.join(sorted(there))}")
    return folder / split_name


def _names_of(split: str) -> tuple[str, ...]:
    return ("val", "validation", "valid") if split == "val" else (split,)


def _beside(inner: Path, folder: Path, name: str) -> Path:
    """The split's own file, or the one of all splits."""
    return inner / name if (inner / name).is_file() else folder / name


def classnames_in(file: Path, folders: list[str]) -> dict[str, str]:
    """The class name of each folder: from ``file`` (``folder<TAB>class name`` a line), or its own where there is none.

    Raises:
        FormatError: a line has no tab, or a folder is not in it.
    """
    if not file.is_file():
        return {name: name for name in folders}
    names = {}
    for number, line in enumerate(read_lines(file), 1):
        key, tab, name = line.partition("\t")
        if not tab or not name.strip():
            raise FormatError(f"{file}:{number}: expected a folder, a tab and the class's name")
        names[key] = name.strip()
    unnamed = [name for name in folders if name not in names]
    if unnamed:
        raise FormatError(f"{file}: {len(unnamed)} folder(s) have no class name there ({', '.join(unnamed[:3])})")
    if gone := [name for name in names if name not in folders]:
        shown = ", ".join(gone[:5]) + (", …" if len(gone) > 5 else "")
        say(f"{file}: {len(gone)} name(s) of folders that are not there count as no class: {shown}")
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
    return Dataset(name, [], [], [FileExample(folder / image, texts) for image, texts in captions.items()])
