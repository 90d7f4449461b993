"""Files written whole or not at all, and what the system refuses said in one line."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import EdgeclipError, FormatError
from .scratch import neighbour

MADE = "<!-- made by edgeclip -->"
FORMAT = re.compile(rb'"?format"?\s*[:=]\s*"edgeclip-')  # of our documents, JSON and TOML
NAME_MAX = 255  # bytes of a name, on the file systems of our days
NEAR = 4096  # bytes, from either end of a file

LFS = b"version https://git-lfs"  # how its pointers begin


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` through a temporary neighbour and a rename.

    Raises:
        EdgeclipError: no permission, no space, or the folder cannot be made; the old file is untouched.
    """
    with mendable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = neighbour(path)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def write_text(path: Path, text: str) -> None:
    r"""Write UTF-8 ``text`` to ``path`` atomically; see :func:`write_bytes`.

    Bytes of a file's name that are no UTF-8 are written as ``\udcff``: as JSON they are read back as they were.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, data: object) -> None:
    """Write ``data`` as indented JSON to ``path`` atomically; see :func:`write_bytes`."""
    write_text(path, json_of(data))


def write_marked(path: Path, text: str) -> None:
    """As :func:`write_text`, for SVG and Markdown: with a comment by which :func:`is_ours` knows the file again."""
    write_text(path, f"{text.rstrip()}\n{MADE}\n")


def is_ours(path: Path) -> bool:
    """Whether a file was written by edgeclip: it names its format, or carries the comment."""
    with mendable(path), path.open("rb") as file:
        head = file.read(NEAR)
        file.seek(max(0, path.stat().st_size - NEAR))
        return bool(FORMAT.search(head)) or MADE.encode() in file.read(NEAR)


def writable(path: Path) -> None:
    """Refuse now what would fail after minutes of work: find out whether ``path``, a folder, could be written to.

    Raises:
        EdgeclipError: no folder on the way to ``path`` can be written to, a file is in the way, or a name is no UTF-8.
    """
    try:
        str(path.absolute()).encode("utf-8")
    except UnicodeEncodeError:  # input may be called anything; safetensors opens no file below such a name
        raise EdgeclipError(f"{path}: a part of that name is not UTF-8: choose another --out") from None
    with mendable(path):
        there = _nearest(path)
        if not there.is_dir():
            raise EdgeclipError(f"{there} is a file: choose another --out")
        try:
            with tempfile.TemporaryFile(dir=there):
                pass
        except FileNotFoundError as error:  # /proc, for one, takes no files
            raise EdgeclipError(f"{path}: nothing can be written to {there}: choose another --out") from error


def writable_file(path: Path, *, force: bool = False, ours: Callable[[Path], bool] = is_ours) -> None:
    """As :func:`writable`, for a path that is to be a file.

    Raises:
        EdgeclipError: also where something of that name is there, unless ``force`` says to replace it and it is
            edgeclip's own.
    """
    if len(os.fsencode(path.name)) > NAME_MAX:
        raise EdgeclipError(
            f"{path.name[:40]}…: a name of {len(path.name)} characters is too long: choose another --out"
        )
    if path.is_dir():
        raise EdgeclipError(f"{path} is a folder: --out must name a file")
    if os.path.lexists(path):
        if not path.is_file() or not ours(path):
            raise EdgeclipError(f"{path} exists, and edgeclip did not write it: choose another name")
        if not force:
            raise EdgeclipError(f"{path} exists: add --force to overwrite it, or choose another name")
    writable(path.parent)


def refuse_too_large(path: Path, size: int) -> None:
    """Refuse work whose ``size`` bytes will not fit on the disk of ``path``, which need not be there yet.

    Raises:
        EdgeclipError: with how much is needed and free.
    """
    if size > (free := free_bytes(path)):
        raise EdgeclipError(f"{path}: about {size / 1e9:.2f} GB are needed, {free / 1e9:.2f} are free: free some first")


def free_bytes(path: Path) -> int:
    """Room on the disk of ``path``, which need not be there yet."""
    return shutil.disk_usage(_nearest(path)).free


def _nearest(path: Path) -> Path:
    there = path.absolute()
    while not there.exists():
        there = there.parent
    return there


@contextmanager
def mendable(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals (no space, no permission) into one mendable line about ``path``."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            scratch = Path(tempfile.gettempdir())
            full = min((path, scratch), key=free_bytes)
            hint = "free some and run again" if full == path else "free some, or set TMPDIR to another disk"
            raise EdgeclipError(f"{full}: no space left on the disk: {hint}") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise EdgeclipError(f"{path}: no permission to write there: choose another --out") from error
        if error.errno in (errno.ENOTDIR, errno.EISDIR, errno.EEXIST):
            raise EdgeclipError(f"{path}: something else of that name is in the way") from error
        raise


def sha256(path: Path) -> str:
    """Hex digest of a file's content, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def json_of(data: object) -> str:
    """Indented JSON, as all our files have it."""
    return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def refuse_stub(file: Path) -> None:
    """Refuse what stands where weights should: nothing, or git-lfs' note of what to fetch.

    Raises:
        FileNotFoundError: there is no such file.
        FormatError: it is such a stub; the text says how to get the weights.
    """
    with file.open("rb") as opened:
        start = opened.read(len(LFS))
    if not start:
        raise FormatError(f"{file} is empty: fetch it again")
    if start == LFS:
        raise FormatError(f"{file} is a pointer of git-lfs, not the weights: run git lfs pull in its folder")
