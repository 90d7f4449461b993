"""Many strings in little memory: names of ten million images, sentences by the tens of millions."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
import zlib
from array import array
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from .files import mendable, write_bytes
from .scratch import neighbour

PART = 1 << 20  # bytes

# What numpy raises for an archive of arrays that is not as it was written.
DAMAGED = (OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error)


def digest(values: Iterable[str]) -> str:
    """One SHA-256 over many strings, in their order."""
    state = hashlib.sha256()
    for value in values:
        state.update(value.encode("utf-8", "surrogateescape") + b"\0")
    return state.hexdigest()


class Strings:
    """A sequence of strings as one block of UTF-8 and the places where they end; a NUL in one becomes U+FFFD."""

    def __init__(self, texts: Iterable[str]) -> None:
        block = bytearray()
        for text in texts:
            block += text.replace("\0", "\ufffd").encode("utf-8", "surrogateescape") + b"\0"
        self._take(bytes(block))

    @classmethod
    def of_block(cls, block: bytes) -> Strings:
        """Strings that lie one after another, each with a NUL behind it."""
        strings = cls.__new__(cls)
        strings._take(block)
        return strings

    def _take(self, block: bytes) -> None:
        self.block = block
        self._ends = np.flatnonzero(np.frombuffer(block, np.uint8) == 0)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, row: int) -> str:
        start = self._ends[row - 1] + 1 if row else 0
        return self.block[start : self._ends[row]].decode("utf-8", "surrogateescape")

    @property
    def digest(self) -> str:
        """SHA-256 over them, in their order."""
        return hashlib.sha256(self.block).hexdigest()

    def __iter__(self) -> Iterator[str]:
        return (self[row] for row in range(len(self)))


class StringsOnDisk:
    """The same with the block in a file that rows are read from: memory holds 12 bytes a string."""

    def __init__(self, file: Path, starts: np.ndarray, lengths: np.ndarray) -> None:
        self._file, self._starts, self._lengths = file, starts, lengths

    @classmethod
    def write(cls, file: Path, texts: Iterable[bytes]) -> StringsOnDisk:
        """Write ``texts`` (UTF-8) to ``file``. Any number of processes may do so at once: they write the same."""
        starts, lengths, end = array("q"), array("i"), 0
        with mendable(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = neighbour(file)
            try:
                with os.fdopen(handle, "wb") as out:
                    for text in texts:
                        starts.append(end)
                        lengths.append(len(text))
                        end += out.write(text)
                temporary.replace(file)
            finally:
                temporary.unlink(missing_ok=True)
        return cls(file, np.frombuffer(starts, np.int64), np.frombuffer(lengths, np.int32))

    def only(self, rows: np.ndarray) -> StringsOnDisk:
        """Those of ``rows`` alone, in that order."""
        return StringsOnDisk(self._file, self._starts[rows], self._lengths[rows])

    def __len__(self) -> int:
        return len(self._starts)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over them, in their order: over how long they are, and what lies one after another in one go."""
        state, ends = hashlib.sha256(self._lengths.astype("<i4").tobytes()), self._starts + self._lengths
        breaks = (np.flatnonzero(self._starts[1:] != ends[:-1]) + 1).tolist()
        with self._file.open("rb") as file:
            for first, last in zip([0, *breaks], [*breaks, len(self)], strict=True):
                if last > first:
                    file.seek(int(self._starts[first]))
                    left = int(ends[last - 1] - self._starts[first])
                    while left:
                        part = file.read(min(left, PART))
                        if not part:
                            break  # the file was cut short: another digest
                        state.update(part)
                        left -= len(part)
        return state.hexdigest()

    def keep(self, index: Path) -> None:
        """Write where the strings lie, for :meth:`kept`."""
        with io.BytesIO() as packed:
            digest = np.frombuffer(self.digest.encode(), np.uint8)
            np.savez(packed, starts=self._starts, lengths=self._lengths, digest=digest)
            write_bytes(index, packed.getvalue())

    @classmethod
    def kept(cls, file: Path, index: Path) -> StringsOnDisk | None:
        """What :meth:`keep` wrote of ``file``; None where nothing is there, or not what was written."""
        try:
            with index.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
                strings = cls(file, arrays["starts"], arrays["lengths"])
                return strings if strings.digest == arrays["digest"].tobytes().decode() else None
        except DAMAGED:
            return None

    def some(self, rows: Iterable[int]) -> list[str]:
        """Several of them, in the order asked for."""
        with self._file.open("rb", buffering=0) as file:
            return [
                os.pread(file.fileno(), int(self._lengths[row]), int(self._starts[row])).decode("utf-8") for row in rows
            ]

    def __getitem__(self, row: int) -> str:
        return self.some([row])[0]

    def __iter__(self) -> Iterator[str]:
        with self._file.open("rb") as file:
            for start, length in zip(self._starts, self._lengths, strict=True):
                file.seek(int(start))
                yield file.read(int(length)).decode("utf-8")
