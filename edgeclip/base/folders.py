"""Folders of ours: a mark that lists what edgeclip put there, a lock while it works there, scratch that goes with it.

Nothing else in such a folder is ever touched, so that ``--out`` may be a mount point, a link, or the folder one is in.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO, Annotated, ClassVar

from pydantic import AfterValidator

from .console import say
from .documents import Document, read_document
from .errors import EdgeclipError
from .files import mendable
from .scratch import clear_neighbours

MARK, LOCK, SCRATCH = ".edgeclip.json", ".edgeclip.lock", ".edgeclip.scratch"
NOT_CONTENT = {MARK, LOCK, SCRATCH, "lost+found"}  # the last is what an empty disk holds


def cache_folder() -> Path:
    """Where what can be fetched or computed again is kept: ``EDGECLIP_CACHE``, else the user's own cache folder.

    Where nothing can be written there (no home, as in many containers), it is a folder below the temporary ones.
    """
    if named := os.environ.get("EDGECLIP_CACHE"):
        return Path(named)
    usual = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "edgeclip")  # noqa: PTH111 (no home: no error)
    return usual if usual.is_absolute() and _takes_files(usual) else _cache_of_the_moment(usual)


def _takes_files(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


@lru_cache(maxsize=1)
def _cache_of_the_moment(usual: Path) -> Path:
    """In the user's own folder below the temporary ones; it is said once.

    Raises:
        EdgeclipError: another user's is there under its name.
    """
    folder = Path(tempfile.gettempdir(), f"edgeclip-cache-{os.getuid()}")
    with mendable(folder):
        folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.lstat().st_uid != os.getuid():
        raise EdgeclipError(f"{folder} is another user's, and nothing can be written to {usual}: set EDGECLIP_CACHE")
    say(f"nothing can be written to {usual}: {folder} is the cache (EDGECLIP_CACHE names another)")
    return folder


def _below(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or not path.parts:
        raise ValueError(f"{name!r} would leave the folder")
    return name


def content_of(folder: Path) -> list[str]:
    """The names of what lies in ``folder``, sorted, but for what is edgeclip's own there; none where it is no folder.

    What killed commands did not finish there is cleared: else a folder that holds nothing else would be in the way.
    """
    with mendable(folder):
        if not folder.is_dir():
            return []
        clear_neighbours(folder)
        return sorted({entry.name for entry in folder.iterdir()} - NOT_CONTENT)


class Mark(Document):
    """``.edgeclip.json``: of what kind the folder is, and the files in it that are edgeclip's."""

    FORMAT: ClassVar[str] = "edgeclip-folder"

    kind: str
    files: list[Annotated[str, AfterValidator(_below)]] = []  # relative, with forward slashes


def refuse_foreign(path: Path, kind: str, *, force: bool = False) -> set[str]:
    """Refuse a folder that is not ours to write to, before any work; the files in it that may be replaced.

    Raises:
        EdgeclipError: it is no folder, holds what edgeclip did not put there and nothing of this ``kind``, or holds
            something of this kind that ``force`` does not allow to replace.
    """
    if path.exists() and not path.is_dir():
        raise EdgeclipError(f"{path} exists and is not a folder: choose another --out")
    content = content_of(path)
    if not content:
        return set()
    mark = read_document(path / MARK, Mark) if (path / MARK).is_file() else None
    if mark is None or mark.kind != kind:
        what = f"a {mark.kind} of edgeclip's" if mark else f"{content[0]}, which edgeclip did not put there"
        raise EdgeclipError(f"{path} holds {what}: choose another --out")
    if not force:
        raise EdgeclipError(f"{path} contains a {kind}: add --force to overwrite it, or choose another --out")
    return set(mark.files)


@contextmanager
def new_folder(path: Path, kind: str, last: str, *, force: bool = False) -> Iterator[Path]:
    """Yield scratch whose files become those of ``path`` when the block ends, and vanish when it fails.

    Args:
        path: a folder that is made, is empty, or is of this ``kind``, where ``force`` says that it may be replaced.
        kind: what the folder is.
        last: the file by which readers know that the others are there; it is gone first and comes last.
        force: replace what edgeclip put there; all else stays.

    Raises:
        EdgeclipError: as :func:`refuse_foreign`, the folder is in use, or something came into the way meanwhile.
    """
    refuse_foreign(path, kind, force=force)
    with mendable(path), locked(path):
        before = refuse_foreign(path, kind, force=force)
        scratch = path / SCRATCH
        if scratch.exists():
            say(f"{scratch} was left by a command that was killed: cleared")
            shutil.rmtree(scratch)
        scratch.mkdir()
        try:
            yield scratch
            _settle(scratch, path, Mark(kind=kind, files=sorted(before)), last)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def mark(path: Path, kind: str) -> None:
    """Call ``path`` a folder of ours, whose files are known by their names."""
    Mark(kind=kind).save(path / MARK)


def _settle(scratch: Path, path: Path, before: Mark, last: str) -> None:
    """Put the files of ``scratch`` in the place of those that were there ``before``."""
    new = sorted((f.relative_to(scratch).as_posix() for f in scratch.rglob("*") if f.is_file()), key=_with_last(last))
    for name in new:
        if name not in before.files and os.path.lexists(path / name):
            raise EdgeclipError(f"{path}: {name} was put there in the meantime, not by edgeclip: choose another --out")
        _inside(path, name)
    before.model_copy(update={"files": sorted({*before.files, *new})}).save(path / MARK)
    for name in sorted(set(before.files) - set(new) | {last} & set(before.files), key=_with_last(last), reverse=True):
        _inside(path, name).unlink(missing_ok=True)
        for folder in (path / name).relative_to(path).parents[:-1]:
            with suppress(OSError):  # something of another's is in it
                (path / folder).rmdir()
    for name in new:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (scratch / name).replace(path / name)
    before.model_copy(update={"files": new}).save(path / MARK)


def _inside(path: Path, name: str) -> Path:
    """Where a file lies, unless a link leads that way out of the folder."""
    inner = path / name
    if not inner.parent.resolve().is_relative_to(path.resolve()):
        raise EdgeclipError(f"{inner}: a link on the way leads out of {path}: remove it")
    return inner


def _with_last(last: str) -> Callable[[str], tuple[bool, str]]:
    return lambda name: (name == last, name)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold ``folder``, which is made where it is not there, and gone again where nothing came into it.

    The system frees the lock of a process that died; what the file still says of it is told.

    Raises:
        EdgeclipError: another process holds it.
    """
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        handle = _take(folder / LOCK)
        try:
            yield
        finally:
            with suppress(OSError):
                (folder / LOCK).unlink()
            _free(handle)
            handle.close()
    finally:
        for parent in made:
            with suppress(OSError):  # not empty
                parent.rmdir()


def _take(file: Path) -> IO[str]:
    while True:
        handle = file.open("a+", encoding="utf-8", errors="replace")
        if not _held(handle):
            holder = _process(handle)
            handle.close()
            raise EdgeclipError(f"{file.parent} is in use by {holder}: wait for it, or choose another --out")
        with suppress(FileNotFoundError):
            if file.stat().st_ino == os.fstat(handle.fileno()).st_ino:
                break
        handle.close()  # whoever had it has just removed it
    handle.seek(0)
    if handle.read(1):
        say(f"{file.parent}: {_process(handle)} stopped before it finished; this command continues its work")
    handle.truncate(0)
    handle.write(f"{os.getpid()}\n")
    handle.flush()
    return handle


def _process(handle: IO[str]) -> str:
    handle.seek(0)
    number = handle.read(20).strip()
    return f"process {number}" if number.isdecimal() else "another process"


if sys.platform == "win32":
    import msvcrt

    BEYOND = 1 << 20  # Windows lets nobody read a byte that is locked

    def _held(handle: IO[str]) -> bool:
        handle.seek(BEYOND)
        with suppress(OSError):
            msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
            return True
        return False

    def _free(handle: IO[str]) -> None:
        handle.seek(BEYOND)
        msvcrt.locking(handle.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _held(handle: IO[str]) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            return False
        return True

    def _free(handle: IO[str]) -> None:
        fcntl.flock(handle, fcntl.LOCK_UN)
