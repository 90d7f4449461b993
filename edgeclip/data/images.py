"""Encoded images to squares of pixels: decoded by many threads, kept in memory where they fit."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..decode import UnreadableImage, read_image
from ..errors import EdgeclipError
from ..runtime.cores import usable_cores
from ..runtime.manifest import Preprocess
from ..runtime.preprocess import Preprocessor
from .sources import Source

MEMORY_LIMIT = 2 << 30  # bytes of decoded images kept; beyond it they are decoded each time


class Images:
    """Decoded images as squares of one size, uint8 ``[3, S, S]``."""

    def __init__(self, source: Source, preprocess: Preprocess) -> None:
        """``preprocess`` says how an image becomes a square, and of what size."""
        self.source, self.size, self.square = source, preprocess.size, preprocess
        self._square = Preprocessor(preprocess).square
        self._pool = ThreadPoolExecutor(usable_cores())
        kept = len(source) * 3 * self.size**2 <= MEMORY_LIMIT
        self._cache = torch.empty(len(source), 3, self.size, self.size, dtype=torch.uint8) if kept else None
        self._cached = np.zeros(len(source), bool) if kept else None

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, rows: Sequence[int]) -> Tensor:
        """uint8 ``[len(rows), 3, S, S]``.

        Raises:
            EdgeclipError: one of them cannot be read.
        """
        pixels, broken = self.decode(rows)
        if broken:
            raise EdgeclipError(f"{self.source.key(broken[0])} cannot be read any more: was it changed?")
        return pixels

    def seeds(self, rows: Sequence[int]) -> NDArray[np.uint64]:
        """What the views of images are drawn from: a hash of each one's key, whatever its place or its process."""
        keys = (self.source.key(row).encode("utf-8", "surrogateescape") for row in rows)
        hashes = (hashlib.blake2b(key, digest_size=8).digest() for key in keys)
        return np.frombuffer(b"".join(hashes), np.dtype("<u8")).astype(np.uint64)

    def decode(self, rows: Sequence[int]) -> tuple[Tensor, list[int]]:
        """uint8 ``[len(rows), 3, S, S]``, and which of the rows cannot be read; those are black."""
        if self._cache is None or self._cached is None:
            found = list(self._pool.map(self._try, rows))
            black = torch.zeros(3, self.size, self.size, dtype=torch.uint8)
            pixels = torch.stack([black if image is None else image for image in found])
            return pixels, [row for row, image in zip(rows, found, strict=True) if image is None]
        missing = [row for row in rows if not self._cached[row]]
        broken = []
        for row, image in zip(missing, self._pool.map(self._try, missing), strict=True):
            self._cache[row] = 0 if image is None else image
            self._cached[row] = image is not None
            broken += [row] if image is None else []
        return self._cache[torch.as_tensor(rows)], broken

    def _try(self, row: int) -> Tensor | None:
        try:
            image = read_image(io.BytesIO(self.source.read(row)))
            return torch.from_numpy(np.array(self._square(image))).permute(2, 0, 1)
        except (UnreadableImage, OSError):  # the latter from the source
            return None
