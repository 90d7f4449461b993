"""Bundles that come as one file: unpacked only where every member stays inside the folder it is unpacked to."""

from __future__ import annotations

import errno
import gzip
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from ..base.errors import EdgeclipError, FormatError

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
LARGEST = 8 << 30  # bytes, all members together: more is a bomb or a mistake
MOST = 10_000  # members, likewise
LONGEST = 255  # bytes of a name, which is what file systems take
UNPACKERS = (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError)
DAMAGED = (*UNPACKERS, EOFError, NotImplementedError, RuntimeError, ValueError)  # what they raise of damage


def is_archive(path: Path) -> bool:
    """Whether ``path`` is a file that is named like one of ours."""
    return path.name.lower().endswith(SUFFIXES) and path.is_file()


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack a bundle into ``folder``; returns where its manifest lies: there, or in the one folder in it.

    Raises:
        FormatError: it is damaged, too large, or holds a member that is no plain file, would leave ``folder``, or has
            the name of another.
    """
    files, folders, total = set[PurePosixPath](), set[PurePosixPath](), 0
    try:
        with _members(archive) as members:
            for name, size, plain, content in members:
                total += size
                path = PurePosixPath(name.replace("\\", "/"))
                if why := _unfit(path, plain) or _in_the_way(path, files, folders):
                    raise FormatError(f"{archive}: {name[:LONGEST]!r} in it {why}: not unpacked")
                if total > LARGEST or len(files) == MOST:
                    raise FormatError(f"{archive}: more than {LARGEST >> 30} GB or {MOST:,} files: not a bundle")
                files.add(path)
                folders.update(path.parents)
                target = folder.joinpath(*path.parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                with content() as source, target.open("wb") as file:  # type: ignore[operator]
                    shutil.copyfileobj(source, file)
    except (*DAMAGED, OSError) as error:
        if not isinstance(error, DAMAGED) and error.errno != errno.EINVAL:  # which is how an impossible place is told
            raise
        why = next(iter(str(error).splitlines()), type(error).__name__).rstrip(":")
        raise FormatError(f"{archive}: not an archive that can be read ({why})") from error
    inside = [path for path in folder.iterdir() if path.is_dir()]
    return inside[0] if len(inside) == 1 and len(list(folder.iterdir())) == 1 else folder


@contextmanager
def told_as(archive: Path, folder: Path) -> Iterator[None]:
    """Faults of what was unpacked into ``folder`` name ``archive``, which is what the user knows.

    Raises:
        EdgeclipError: as the block raises it.
    """
    try:
        yield
    except EdgeclipError as error:
        raise type(error)(str(error).replace(str(folder), str(archive))) from error


def _unfit(path: PurePosixPath, plain: bool) -> str:
    """Why a member is not written."""
    if path.is_absolute() or ".." in path.parts or not path.parts or ":" in path.parts[0]:
        return "would be written outside"
    if not plain:
        return "is a link or a device"
    if max(len(os.fsencode(part)) for part in path.parts) > LONGEST:
        return "has too long a name"
    return ""


def _in_the_way(path: PurePosixPath, files: set[PurePosixPath], folders: set[PurePosixPath]) -> str:
    """Whether its place is taken."""
    if path in files:
        return "is there twice"
    return "is a file and a folder" if path in folders or not files.isdisjoint(path.parents) else ""


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[tuple[str, int, bool, object]]]:
    """Name, size, whether it is a plain file, and how to open it: of each member that is no folder."""
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as opened:
            yield (
                (member.filename, member.file_size, _plain(member), lambda member=member: opened.open(member))
                for member in opened.infolist()
                if not member.is_dir()
            )
    else:
        with tarfile.open(archive) as opened:
            yield (
                (member.name, member.size, member.isreg(), lambda member=member: opened.extractfile(member))
                for member in opened
                if not member.isdir()
            )


def _plain(member: zipfile.ZipInfo) -> bool:
    """A zip made on Unix says in its upper bits whether a member is a link."""
    kind = stat.S_IFMT(member.external_attr >> 16)
    return kind in (0, stat.S_IFREG)
