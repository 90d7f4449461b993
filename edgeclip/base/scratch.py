"""Folders and files of the moment. What a killed process left of them is known by its number; the next clears it."""

from __future__ import annotations

import errno
import os
import platform
import re
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import EdgeclipError

# Of this machine: a disk may be shared with others, whose processes have numbers of their own.
HOST = f"{zlib.crc32(platform.node().encode('utf-8', 'replace')):08x}"
OWNER = re.compile(rf"{HOST}-(\d+)[.-]")
ROOM = 1 << 20  # bytes free, on a disk that is as good as full
FULL = "{}: no space left for what is worked on: free some, or set TMPDIR to another disk"
NAME_KEPT = 64  # characters of a file's name, in that of its temporary neighbour


def clear_scratch() -> list[Path]:
    """Remove the folders that processes left in the system's place for scratch which were killed; those that went."""
    left = _left(Path(tempfile.gettempdir()), f"edgeclip-{HOST}-*")
    for folder in left:
        shutil.rmtree(folder, ignore_errors=True)
    return [folder for folder in left if not folder.exists()]


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new folder in the system's place for them, gone when the block ends.

    Raises:
        EdgeclipError: the disk that it lies on is full.
    """
    place = Path(tempfile.gettempdir())
    prefix = f"edgeclip-{HOST}-{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as folder:
        try:
            yield Path(folder)
        except OSError as error:
            if _is_full(error, place):  # asked while what was written is still there
                raise EdgeclipError(FULL.format(place)) from error
            raise


def _is_full(error: OSError, place: Path) -> bool:
    """Whether it says that there is no room at ``place``; numpy and others give no number and name no file."""
    named = str(error.filename or "")
    return (
        error.errno in (None, errno.ENOSPC)
        and (not named or named.startswith(str(place)))
        and shutil.disk_usage(place).free < ROOM
    )


def neighbour(path: Path) -> tuple[int, Path]:
    """A new temporary file beside ``path``: its handle, and its path. Those of killed processes go first."""
    start = path.name[:NAME_KEPT]
    clear_neighbours(path.parent, _literal(start))
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{start}.{HOST}-{os.getpid()}.")
    return handle, Path(name)


def clear_neighbours(folder: Path, of: str = "*") -> None:
    """Remove the temporary neighbours that killed processes left in ``folder``, of files whose names match ``of``."""
    for left in _left(folder, f".{of}.{HOST}-*"):
        with suppress(OSError):
            left.unlink()


def _left(place: Path, pattern: str) -> list[Path]:
    """What matches and is of a process that is no more."""
    left = []
    for path in place.glob(pattern):
        owner = OWNER.search(path.name)
        if owner and not _runs(int(owner[1])):
            left.append(path)
    return left


def _runs(process: int) -> bool:
    if sys.platform == "win32":
        return True  # to ask there is to end it
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _literal(name: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", name)
