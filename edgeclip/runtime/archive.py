"""Bundles that come as one file: unpacked only where every member stays inside the folder it is unpacked to."""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from ..base.errors import FormatError

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
LARGEST = 8 << 30  # bytes, all members together: more is a bomb or a mistake


def is_archive(path: Path) -> bool:
    """Whether ``path`` is a file that is named like one of ours."""
    return path.name.lower().endswith(SUFFIXES) and path.is_file()


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack a bundle into ``folder``; returns where its manifest lies: there, or in the one folder in it.

    Raises:
        FormatError: it is damaged, too large, or holds a member that is no plain file or would leave ``folder``.
    """
    try:
        with _members(archive) as members:
            total = 0
            for name, size, plain, content in members:
                total += size
                path = PurePosixPath(name.replace("\\", "/"))
                if path.is_absolute() or ".." in path.parts or not path.parts or ":" in path.parts[0]:
                    raise FormatError(f"{archive}: {name!r} in it would be written outside: not unpacked")
                if not plain:
                    raise FormatError(f"{archive}: {name!r} in it is a link or a device: not unpacked")
                if total > LARGEST:
                    raise FormatError(f"{archive}: more than {LARGEST >> 30} GB when unpacked: not a bundle")
                target = folder.joinpath(*path.parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                with content() as source, target.open("wb") as file:  # type: ignore[operator]
                    shutil.copyfileobj(source, file)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, NotImplementedError, RuntimeError) as error:
        raise FormatError(f"{archive}: not an archive that can be read ({error})") from error
    inside = [path for path in folder.iterdir() if path.is_dir()]
    return inside[0] if len(inside) == 1 and len(list(folder.iterdir())) == 1 else folder


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
