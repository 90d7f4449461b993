"""Many strings in little memory: names of ten million images, sentences by the tens of millions."""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from ..files import mendable


def digest(values: Iterable[str]) -> str:
    """One SHA-256 over many strings, in their order."""
    state = hashlib.sha256()
    for value in values:
        state.update(value.encode("utf-8", "surrogateescape") + b"\0")
    return state.hexdigest()


class Strings:
    """A sequence of strings as one block of UTF-8 and the places where they end."""

    def __init__(self, texts: Iterable[str]) -> None:
        block, ends = bytearray(), array("q", [0])
        for text in texts:
            block += text.encode("utf-8", "surrogateescape")
            ends.append(len(block))
        self._block, self._ends = bytes(block), ends

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, row: int) -> str:
        return self._block[self._ends[row] : self._ends[row + 1]].decode("utf-8", "surrogateescape")

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
        temporary = file.with_name(f".{file.name}.{os.getpid()}")
        with mendable(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("wb") as out:
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
        """SHA-256 over them, in their order."""
        return digest(self)

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
