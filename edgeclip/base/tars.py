"""Read a tar archive's files one after another, from the start to the end, without unpacking anything.

Python's tarfile builds an object of thirty fields for every member; for images of two kilobytes that takes longer than
half of decoding them. Nothing is written to the disk here, so no name in an archive can escape from anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from .errors import FormatError
from .pictures import is_hidden

BLOCK = 512
LARGEST = 256 << 20  # bytes of one file; an image of that size is an attack or a mistake
FILE, OLD_FILE, HARD_LINK, LONG_NAME, LONG_LINK, EXTENDED = b"0", b"\0", b"1", b"L", b"K", b"x"
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


class Header(NamedTuple):
    """One member: its kind, its name, what it is a link to, and where its content begins and how long it is, bytes."""

    kind: bytes
    name: str
    target: str
    start: int
    size: int

    @property
    def is_file(self) -> bool:
        """Whether it has content of its own; old archives have folders of this kind."""
        return self.kind in (FILE, OLD_FILE) and not self.name.endswith("/")


def _members(file: IO[bytes], path: Path) -> Iterator[tuple[str, int, int]]:
    """Name, place and size of file after file; between one and the next, the file may be read from."""
    linkable = dict[str, Header]()  # filled by a second reading, since most archives have no hard links
    for header in _headers(file, path):
        if header.kind == HARD_LINK and not is_hidden(header.name):
            if not linkable:
                with _opened(path) as again:
                    linkable = {other.name: other for other in _headers(again, path) if other.is_file}
            if (linked := linkable.get(header.target)) is None:
                raise FormatError(
                    f"{path}: {header.name} is a link to {header.target}, which is not in it: pack it again, with"
                    " tar --hard-dereference"
                )
            file.seek(linked.start)
            yield header.name, linked.start, linked.size
        elif header.is_file and not is_hidden(header.name):
            file.seek(header.start)
            yield header.name, header.start, header.size


def _headers(file: IO[bytes], path: Path) -> Iterator[Header]:
    """Header after header, each with the long names that records before it gave."""
    longer, at = dict[str, str](), 0  # what the next header has no room for; where the next header lies
    end = file.seek(0, 2)
    while True:
        file.seek(at)
        block = file.read(BLOCK)
        if len(block) == BLOCK and not block.strip(b"\0"):
            return
        if at >= end:  # no mark of the end: files may be missing, or the last one's bytes
            raise FormatError(f"{path}: truncated, its end is missing: fetch it again")
        kind, size, start = block[156:157], _size(block, path), at + BLOCK
        at = start + size + -size % BLOCK
        if kind in (LONG_NAME, LONG_LINK, EXTENDED):
            longer |= _long_names(kind, _content(file, size, path))
            continue
        names = {"path": _name(block), "linkpath": _text(block[157:257])} | longer
        yield Header(kind, names["path"], names["linkpath"], start, size)
        longer = {}


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


def _long_names(kind: bytes, content: bytes) -> dict[str, str]:
    """``path`` and ``linkpath`` of a GNU record, or of a pax one (``length key=value``, one after another)."""
    if kind != EXTENDED:
        return {"path" if kind == LONG_NAME else "linkpath": _text(content)}
    names = {}
    while content:
        length, _, rest = content.partition(b" ")
        if not length.isdigit() or int(length) <= len(length) + 1:
            break
        key, _, value = rest[: int(length) - len(length) - 1].partition(b"=")
        if key in (b"path", b"linkpath"):
            names[key.decode()] = _text(value.rstrip(b"\n"))
        content = content[int(length) :]
    return names


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace")
