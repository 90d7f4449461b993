"""Which tars a pattern stands for: ``shard-{000..099}.tar``, also with ``*``, also at URLs."""

from __future__ import annotations

import glob
import hashlib
import itertools
import math
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from ..base.errors import EdgeclipError, require
from ..base.web import fetch

REMOTE = ("http://", "https://")
MOST_SHARDS = 10**6
LIST = re.compile(r"\{[^{}]*,[^{}]*\}")
RANGE = re.compile(r"\{(-?\d{1,18})\.\.(-?\d{1,18})(?:\.\.-?\d+)?\}")


First = Callable[[], AbstractContextManager[object]]


def shards(pattern: str, cache: Path, first: First) -> list[Path]:
    """The tars that a pattern names; those at URLs are fetched first."""
    if not pattern.startswith(REMOTE):
        return local_shards(pattern)
    return [_fetched(url, cache / "shards", first) for url in expanded(pattern)]


def local_shards(pattern: str) -> list[Path]:
    """Those on this machine.

    Raises:
        EdgeclipError: one of them is not there.
    """
    files: list[Path] = []
    for name in expanded(pattern):
        shards = sorted(glob.glob(name)) if glob.has_magic(name) else [name]  # noqa: PTH207 (absolute ones too)
        files += map(Path, shards)
    missing = [file for file in files if not file.is_file()]
    if missing or not files:
        raise EdgeclipError(f"{missing[0] if missing else pattern}: no such shard of images")
    return files


def expanded(pattern: str) -> list[str]:
    """Every name that a pattern with ``{000..099}`` or ``{a,b}`` stands for.

    Raises:
        EdgeclipError: its braces do not match, or it stands for more than a million.
    """
    expander = require("braceexpand", "distill")
    ranges = [abs(int(last) - int(first)) + 1 for first, last in RANGE.findall(pattern)]
    ranges += [part.count(",") + 1 for part in LIST.findall(pattern)]
    too_many = EdgeclipError(f"{pattern:.200}: more than {MOST_SHARDS:,} shards: is a digit too many in it?")
    if math.prod(ranges) > MOST_SHARDS:  # it makes a list of each range
        raise too_many
    try:
        names = list(itertools.islice(expander.braceexpand(pattern), MOST_SHARDS + 1))
    except expander.UnbalancedBracesError as error:
        raise EdgeclipError(f"{pattern:.200}: its braces do not match") from error
    if len(names) > MOST_SHARDS:
        raise too_many
    return names


def _fetched(url: str, folder: Path, first: First) -> Path:
    """Download ``url`` into ``folder``, unless it is there."""
    target = folder / f"{hashlib.sha256(url.encode()).hexdigest()[:12]}-{url.rsplit('/', 1)[-1]}"
    with first():
        if not fetch(url, target):
            raise EdgeclipError(f"{url}: the server has no such shard")
    return target
