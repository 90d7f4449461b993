"""Which files are images, and what happens when some of them cannot be read: the one policy of every reader."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from .console import say
from .errors import EdgeclipError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
BROKEN_LIMIT = 0.05


def is_hidden(name: str) -> bool:
    """Whether a path leads through a dot file or folder: what macOS leaves beside files (``._x``), for one."""
    return any(part.startswith(".") and part not in (".", "..") for part in name.split("/"))


def is_image(name: str) -> bool:
    """Whether a path names an image: by its suffix, and not hidden."""
    return name.lower().endswith(SUFFIXES) and not is_hidden(name)


def image_files(folder: Path) -> Iterator[str]:
    """Paths below ``folder``, relative to it, of every image file, in no order.

    Linked folders are gone into, but not one that leads back to a folder on the way to it.
    """
    yield from _files_in(str(folder), "", frozenset())


def _files_in(folder: str, prefix: str, above: frozenset[tuple[int, int]]) -> Iterator[str]:
    state = os.stat(folder)  # noqa: PTH116 (a Path for each of a million files is too slow)
    if (here := (state.st_dev, state.st_ino)) in above:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _files_in(entry.path, f"{prefix}{entry.name}/", above | {here})
            elif is_image(entry.name) and entry.is_file():
                yield f"{prefix}{entry.name}"


def refuse_too_many_broken(broken: Sequence[str], total: int, what: str) -> None:
    """Stop where over 5 % of the ``total`` images of ``what`` cannot be read.

    Raises:
        EdgeclipError: naming some of them.
    """
    if len(broken) > BROKEN_LIMIT * total:
        raise EdgeclipError(f"{what}: over {BROKEN_LIMIT:.0%} of its images cannot be read ({_named(broken)})")


def say_skipped(broken: Sequence[str], what: str) -> None:
    """Tell how many images were left out, and name some."""
    if broken:
        say(f"{what}: {len(broken)} unreadable image(s) skipped: {_named(broken)}")


def _named(keys: Sequence[str]) -> str:
    return ", ".join(keys[:5]) + (", …" if len(keys) > 5 else "")
