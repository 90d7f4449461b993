"""Files written whole or not at all, and what the system refuses said in one line."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import EdgeclipError


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` through a temporary neighbour and a rename.

    Raises:
        EdgeclipError: no permission, no space, or the folder cannot be made; the old file is untouched.
    """
    with mendable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
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
    write_text(path, _json(data))


@contextmanager
def new_directory(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield a hidden folder beside ``path`` that becomes ``path`` when the block ends, and vanishes when it fails.

    ``replace`` allows an existing folder to be replaced; without it an existing, non-empty ``path`` is refused.
    """
    if path.exists() and not path.is_dir():
        raise EdgeclipError(f"{path} exists and is not a folder: choose another --out")
    if path.is_dir() and not replace and any(path.iterdir()):
        raise EdgeclipError(f"{path} exists and is not empty: choose another --out or remove it")
    with mendable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
        try:
            yield staging
            staging.chmod(0o777 & ~_umask())
            if path.exists():
                shutil.rmtree(path)
            staging.rename(path)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise


def writable(path: Path) -> None:
    """Refuse now what would fail after minutes of work: find out whether ``path`` could be written.

    Raises:
        EdgeclipError: no folder on the way to ``path`` can be written to, a file is in the way, or a name is no UTF-8.
    """
    try:
        str(path.absolute()).encode("utf-8")
    except UnicodeEncodeError:  # input may be called anything; safetensors opens no file below such a name
        raise EdgeclipError(f"{path}: a part of that name is not UTF-8: choose another --out") from None
    parent = path.absolute().parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise EdgeclipError(f"{parent} is a file: choose another --out")
    with mendable(path), tempfile.TemporaryFile(dir=parent):
        pass


def writable_file(path: Path) -> None:
    """As :func:`writable`, for a path that is to be a file: a folder of that name is refused."""
    if path.is_dir():
        raise EdgeclipError(f"{path} is a folder: --out must name a file")
    writable(path)


@contextmanager
def mendable(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals (no space, no permission) into one mendable line about ``path``."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise EdgeclipError(f"{path}: no space left on the disk: free some and run again") from error
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


def _json(data: object) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
