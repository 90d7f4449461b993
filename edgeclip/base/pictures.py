"""Which files are images, and what happens when some of them cannot be read: the one policy of every reader."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from .console import say
from .errors import EdgeclipError
from .visible import some_of

SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".apng", ".jp2", ".j2k")
HEIF = (".heic", ".heif")
# Pictures all the same: who has them wants to know that they are not looked at.
OTHERS = {*HEIF, ".avif", ".svg", ".psd", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw", ".jxl"}
BROKEN_LIMIT = 0.05


def is_hidden(name: str) -> bool:
    """Whether a path leads through a dot file or folder: what macOS leaves beside files (``._x``), for one."""
    return any(part.startswith(".") and part not in (".", "..") for part in name.split("/"))


def is_image(name: str) -> bool:
    """Whether a path names an image: by its suffix, and not hidden."""
    return name.lower().endswith(suffixes()) and not is_hidden(name)


@lru_cache(maxsize=1)
def suffixes() -> tuple[str, ...]:
    """Of the images that can be read here: Pillow's, and HEIF's where ``edgeclip[heif]`` is installed."""
    from PIL import features

    more = (".avif",) if features.check("avif") else ()
    return SUFFIXES + more + (HEIF if find_spec("pillow_heif") else ())


def say_others(others: Counter[str], what: str) -> None:
    """Tell how many pictures of other kinds lie there, which nobody looks at."""
    if others:
        counts = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common())
        hint = ": pip install 'edgeclip[heif]' reads HEIC" if others.keys() & {*HEIF} else ""
        say(f"{what}: skipped files that cannot be read as images: {counts}{hint}")


def image_files(folder: Path, others: Counter[str] | None = None) -> Iterator[str]:
    """Paths below ``folder``, relative to it, of every image file, in no order.

    Pictures of other kinds are counted in ``others``, by their suffixes.
    Linked folders are gone into, after all that are none. A folder counts once, however many links lead to it.
    """
    waiting, linked = [""], list[str]()
    seen: set[tuple[int, int]] = set()
    while waiting or linked:
        prefix = waiting.pop() if waiting else linked.pop(0)
        path = os.path.join(folder, prefix)  # noqa: PTH118 (a Path for each of a million files is too slow)
        state = os.stat(path)  # noqa: PTH116
        if (here := (state.st_dev, state.st_ino)) in seen:
            continue
        seen.add(here)
        with os.scandir(path) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    (linked if entry.is_symlink() else waiting).append(f"{prefix}{entry.name}/")
                elif is_image(entry.name) and entry.is_file():
                    yield f"{prefix}{entry.name}"
                elif others is not None and (suffix := os.path.splitext(entry.name)[1].lower()) in OTHERS:  # noqa: PTH122
                    others[suffix] += 1


def refuse_too_many_broken(broken: Sequence[str], total: int, what: str) -> None:
    """Stop where over 5 % of the ``total`` images of ``what`` cannot be read.

    Raises:
        EdgeclipError: naming some of them.
    """
    if len(broken) > BROKEN_LIMIT * total:
        raise EdgeclipError(f"{what}: over {BROKEN_LIMIT:.0%} of its images cannot be read ({some_of(broken)})")


def say_skipped(broken: Sequence[str], what: str) -> None:
    """Tell how many images were left out, and name some."""
    if broken:
        say(f"{what}: {len(broken)} unreadable image(s) skipped: {some_of(broken)}")
