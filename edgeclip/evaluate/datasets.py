"""Labelled images to measure on: one folder a class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from ..console import say
from ..errors import EdgeclipError, FormatError

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
TEMPLATES = ("a photo of a {}.",)
BROKEN_LIMIT = 0.05


@dataclass
class Dataset:
    """Images on disk with the number of their class. Iterating decodes them."""

    name: str
    classnames: list[str]
    templates: list[str]  # each with one {} for the class name
    items: list[tuple[Path, int]]
    broken: list[Path] = field(default_factory=list)  # found unreadable while iterating

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[tuple[Image.Image, int]]:
        """Decoded images and labels. Unreadable images are left out, counted and named.

        Raises:
            EdgeclipError: more than 5 % of the images cannot be read.
        """
        self.broken = []
        for path, label in self.items:
            try:
                with Image.open(path) as image:
                    image.load()
            except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError):
                self.broken.append(path)
                if len(self.broken) > max(1, BROKEN_LIMIT * len(self.items)):
                    raise self._too_many() from None
                continue
            yield image, label
        if len(self.broken) > BROKEN_LIMIT * len(self.items):
            raise self._too_many()
        if self.broken:
            say(f"{self.name}: {len(self.broken)} unreadable image(s) skipped: {self._named()}")

    def _named(self) -> str:
        return ", ".join(path.name for path in self.broken[:5]) + ("…" if len(self.broken) > 5 else "")

    def _too_many(self) -> EdgeclipError:
        return EdgeclipError(f"{self.name}: over {BROKEN_LIMIT:.0%} of its images cannot be read ({self._named()}, …)")


def open_dataset(folder: Path) -> Dataset:
    """Open a folder with one folder a class.

    ``classnames.txt`` may name the classes (``folder<TAB>class name`` a line; else the folders' names are used), and
    ``templates.txt`` the prompts (``{}`` stands for the class name, one a line; else "a photo of a {}.").

    Raises:
        EdgeclipError: no such folder, or no class with an image in it.
        FormatError: a line of one of the two files is not as it should be, or a folder has no name there.
    """
    if not folder.is_dir():
        raise EdgeclipError(f"{folder}: no such dataset folder")
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    names = _classnames(folder / "classnames.txt", [path.name for path in folders])
    items: list[tuple[Path, int]] = []
    classnames: list[str] = []
    for path in folders:
        images = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if images:
            items += [(image, len(classnames)) for image in images]
            classnames.append(names[path.name])
    if not items:
        raise EdgeclipError(f"{folder}: no class with images in it: a dataset has one folder a class")
    return Dataset(folder.name, classnames, _templates(folder / "templates.txt"), items)


def _classnames(file: Path, folders: list[str]) -> dict[str, str]:
    if not file.is_file():
        return {name: name for name in folders}
    names = {}
    for number, line in enumerate(_lines(file), 1):
        key, tab, name = line.partition("\t")
        if not tab or not name.strip():
            raise FormatError(f"{file}:{number}: expected a folder, a tab and the class's name")
        names[key] = name.strip()
    unnamed = [name for name in folders if name not in names]
    if unnamed:
        raise FormatError(f"{file}: {len(unnamed)} folder(s) have no class name there ({', '.join(unnamed[:3])})")
    return names


def _templates(file: Path) -> list[str]:
    if not file.is_file():
        return list(TEMPLATES)
    templates = _lines(file)
    for number, template in enumerate(templates, 1):
        if template.count("{}") != 1:
            raise FormatError(f"{file}:{number}: a template holds {{}} once, where the class name goes")
    if not templates:
        raise FormatError(f"{file}: no templates in it: remove it to use the default")
    return templates


def _lines(file: Path) -> list[str]:
    try:
        return [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{file}: cannot be read as UTF-8 text ({error})") from error
