"""Where a folder's classes lie: right in it, in its splits, or one folder further down."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ..base.console import say
from ..base.errors import EdgeclipError
from ..base.pictures import image_files, is_image
from ..base.visible import some_of

# What data sets call their splits, without case and without "seg_", "_images", "-set" and the like around it.
NAMES = {
    "train": ("train", "training", "trn"),
    "val": ("val", "validation", "valid", "dev", "eval"),
    "test": ("test", "testing", "tst"),
}
AROUND = re.compile(r"^(seg|images?|imgs?|data)[_-]|[_-](set|images?|imgs?|data|split)$", re.IGNORECASE)
FLAT = ("images", "image", "imgs", "img", "data")  # what holds a split's images where they lie in no classes
DEEPEST = 3  # folders that hold nothing but one more


@dataclass(frozen=True)
class Layout:
    """Where classes lie: ``splits`` by kind; none where the folder is not split, and its classes are in ``root``."""

    root: Path
    splits: dict[str, Path]


def layout_of(folder: Path) -> Layout:
    """Look at a folder's folders. A split holds classes, a class holds images: ``train`` may be one of vehicles.

    Raises:
        EdgeclipError: folders of images lie beside ``train`` or ``test``: nobody can tell whether these are classes.
    """
    root = _unwrapped(folder)
    splits: dict[str, Path] = {}
    others = []
    for path in folders_in(root):
        kind = split_kind(path.name)
        if kind and kind not in splits and (inner := _classes_in(path)):
            splits[kind] = inner
        else:
            others.append(path)
    if not splits:
        return Layout(root, {})
    beside = [path for path in others if split_kind(path.name) is None and _has_images(path)]
    if len(splits) == 1 and any(_directly(path) for path in beside):
        raise EdgeclipError(
            f"{root}: are {some_of([path.name for path in splits.values()])} splits, or classes like"
            f" {beside[0].name}? Give the folder of the classes, or of the split, by itself"
        )
    if beside:
        say(f"{folder.name}: folder(s) beside its splits are not looked into: {some_of([p.name for p in beside])}")
    return Layout(root, splits)


def split_in(layout: Layout, split: str) -> Path:
    """The folder of a split's classes; the validation images stand in for a test split that there is not.

    Raises:
        EdgeclipError: there is no such split.
    """
    if not layout.splits:
        if split == "test":
            return layout.root
        raise EdgeclipError(f"{layout.root}: it is not split into train/ and test/, so it has no {split}")
    if split in layout.splits:
        return layout.splits[split]
    if split == "test" and "val" in layout.splits:
        say(f"{layout.root.name}: no test split there: {layout.splits['val'].name} is used")
        return layout.splits["val"]
    raise EdgeclipError(f"{layout.root}: no split {split!r} there; it has {', '.join(sorted(layout.splits))}")


def split_kind(name: str) -> str | None:
    """``train``, ``val`` or ``test``, where a folder is called so in one of the usual ways."""
    plain = AROUND.sub("", name).lower()
    return next((kind for kind, names in NAMES.items() if plain in names), None)


def folders_in(folder: Path) -> list[Path]:
    """The folders in one, sorted; what systems leave there is not looked at."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".") and p.name != "__MACOSX")


def _unwrapped(folder: Path) -> Path:
    """The folder itself, or the one in it that holds all images, as archives have it: ``flowers/flower_photos``."""
    for _ in range(DEEPEST):
        with_images = [path for path in folders_in(folder) if _has_images(path)]
        if len(with_images) != 1 or _directly(folder) or split_kind(with_images[0].name):
            return folder
        if not any(_has_images(path) for path in folders_in(with_images[0])):
            return folder  # a single class
        folder = with_images[0]
    return folder


def _classes_in(folder: Path) -> Path | None:
    """Where the classes of a split lie: in it, or in the one folder in it; None where there are none, but images."""
    for _ in range(DEEPEST):
        if _directly(folder):
            return None
        inside = [path for path in folders_in(folder) if _has_images(path)]
        if len(inside) != 1 or (_directly(inside[0]) and inside[0].name not in FLAT):
            return folder if inside else None
        folder = inside[0]
    return None


def _directly(folder: Path) -> bool:
    """Whether images lie right in it."""
    return any(is_image(path.name) and path.is_file() for path in folder.iterdir())


def _has_images(folder: Path) -> bool:
    return any(islice(image_files(folder), 1))
