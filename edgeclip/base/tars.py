"""Read a tar archive's files one after another, from the start to the end, without unpacking anything.

Python's tarfile builds an object of thirty fields for every member; for images of two kilobytes that takes longer than
half of decoding them. Nothing is written to the disk here, so no name in an archive can escape from anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .errors import FormatError
from .pictures import is_hidden

BLOCK = 512
LARGEST = 256 << 20  # bytes of one file; an image of that size is an attack or a mistake
FILE, OLD_FILE, HARD_LINK, LONG_NAME, EXTENDED = b"0", b"\0", b"1", b"L", b"x"
COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


def read_tar(path: Path, *, contents: bool = True) -> Iterator[tuple[str, bytes]]:
    """The name and the content of every regular file in ``path``, in order; what is hidden or no file is passed over.

    Without ``contents`` they are skipped on the disk, and empty.

    Raises:
        FormatError: it is no tar archive, it is truncated, or a file in it is larger than 256 MiB.
    """
    with _opened(path) as file:
        for name, _, size in _members(file, path):
            yield name, _content(file, size, path) if contents else b""


def index_tar(path: Path) -> Iterator[tuple[str, int, int]]:
    """The name of every regular file in ``path``, where its content begins and how long it is, bytes.

    Raises:
        FormatError: as :func:`read_tar`.
    """
    with _opened(path) as file:
        yield from _members(file, path)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error


def _members(file: IO[bytes], path: Path) -> Iterator[tuple[str, int, int]]:
    """Name, place and size of file after file; between one and the next, the file may be read from."""
    longer, at = "", 0  # a name that the next header has no room for; where the next header lies
    end, linked = file.seek(0, 2), dict[str, tuple[int, int]]()
    while True:
        file.seek(at)
        header = file.read(BLOCK)
        if len(header) == BLOCK and not header.strip(b"\0"):
            return
        if at >= end:  # no mark of the end: files may be missing, or the last one's bytes
            raise FormatError(f"{path}: truncated, its end is missing: fetch it again")
        kind, size = header[156:157], _size(header, path)
        at += BLOCK + size + -size % BLOCK
        if kind in (LONG_NAME, EXTENDED):
            longer = _long_name(kind, _content(file, size, path)) or longer
            continue
        name, longer = longer or _name(header), ""
        if kind == HARD_LINK and not is_hidden(name):
            linked = linked or {other: (start, length) for other, start, length in _plain(path)}
            if target := linked.get(_text(header[157:257])):
                file.seek(target[0])
                yield name, *target
        if kind in (FILE, OLD_FILE) and not name.endswith("/") and not is_hidden(name):
            yield name, at - size - -size % BLOCK, size


def _plain(path: Path) -> Iterator[tuple[str, int, int]]:
    """The files that hard links of the same archive may name; read a second time, since most archives have no links."""
    with path.open("rb") as file:
        at, end = 0, file.seek(0, 2)
        while at < end:
            file.seek(at)
            header = file.read(BLOCK)
            if not header.strip(b"\0"):
                return
            size = _size(header, path)
            if header[156:157] in (FILE, OLD_FILE):
                yield _name(header), at + BLOCK, size
            at += BLOCK + size + -size % BLOCK


def _size(header: bytes, path: Path) -> int:
    """The size field, after the header's checksum was found right."""
    if kind := next((name for magic, name in COMPRESSED.items() if header.startswith(magic)), None):
        raise FormatError(f"{path}: a tar archive inside {kind}: uncompress it first, images are read in place")
    if len(header) < BLOCK:
        raise FormatError(f"{path}: truncated in the middle of a header: fetch it again")
    checksum, size = _octal(header[148:156]), _octal(header[124:136])
    if header[124] & 0x80:  # base 256; a first bit after it would be a negative number
        size = LARGEST + 1 if header[124] & 0x40 else int.from_bytes(header[125:136], "big")
    if size < 0 or checksum != sum(header) - sum(header[148:156]) + 8 * ord(" "):
        raise FormatError(f"{path}: not a tar archive, or a damaged one: fetch it again")
    if size > LARGEST:
        raise FormatError(f"{path}: a file in it has {size} bytes, more than {LARGEST}: it is not read")
    return size


def _octal(field: bytes) -> int:
    """A number's field; -1 where it is none. Python would read signs and underscores in it, too."""
    digits = field.strip(b" \0")
    return int(digits or b"0", 8) if not digits.strip(b"01234567") else -1


def _content(file: IO[bytes], size: int, path: Path) -> bytes:
    content = file.read(size)
    if len(content) < size:
        raise FormatError(f"{path}: truncated in the middle of a file: fetch it again")
    return content


def _name(header: bytes) -> str:
    name = _text(header[:100])
    prefix = _text(header[345:500]) if header[257:262] == b"ustar" and header[263:265] == b"00" else ""
    return f"{prefix}/{name}" if prefix else name


def _long_name(kind: bytes, content: bytes) -> str:
    """The path of a GNU long-name record, or of a pax record (``length key=value``, one after another)."""
    if kind == LONG_NAME:
        return _text(content)
    while content:
        length, _, rest = content.partition(b" ")
        if not length.isdigit() or int(length) <= len(length) + 1:
            return ""
        entry = rest[: int(length) - len(length) - 1]
        if entry.startswith(b"path="):
            return _text(entry[5:].rstrip(b"\n"))
        content = content[int(length) :]
    return ""


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace")
