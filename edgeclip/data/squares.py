"""Encoded images to squares of pixels: decoded by many threads, kept in memory where they fit."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import simplejpeg
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..base.decode import UnreadableImage, read_image
from ..base.errors import EdgeclipError
from ..images.sources import Source
from ..runtime.cores import usable_cores
from ..runtime.manifest import Preprocess
from ..runtime.preprocess import Preprocessor

JPEG = b"\xff\xd8\xff"
TOGETHER = 8  # images that a thread is given at once: handing over one takes as long as a tenth of decoding it
MEMORY_LIMIT = 2 << 30  # bytes of decoded images kept; beyond it they are decoded each time


class Images:
    """Decoded images as squares of one size, uint8 ``[3, S, S]``."""

    def __init__(self, source: Source, preprocess: Preprocess) -> None:
        """``preprocess`` says how an image becomes a square, and of what size."""
        self.source, self.size, self.square = source, preprocess.size, preprocess
        self._square = Preprocessor(preprocess).square
        self._pool = ThreadPoolExecutor(usable_cores())
        kept = len(source) * 3 * self.size**2 <= MEMORY_LIMIT
        self._cache = self._squares(len(source)) if kept else None
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
            pixels = self._squares(len(rows))
            return pixels, self._unread(rows, list(pixels))
        missing = [row for row in rows if not self._cached[row]]
        broken = self._unread(missing, [self._cache[row] for row in missing])
        self._cached[missing] = True
        self._cached[broken] = False
        return self._cache[torch.as_tensor(rows)], broken

    def _squares(self, count: int) -> Tensor:
        """uint8 ``[count, 3, S, S]``, not yet filled; a pixel's colours lie side by side, as decoders give them."""
        return torch.empty(count, self.size, self.size, 3, dtype=torch.uint8).permute(0, 3, 1, 2)

    def _unread(self, rows: Sequence[int], places: Sequence[Tensor]) -> list[int]:
        """Decode each row into its place; which of them could not be, whose places become black."""
        parts = [slice(start, start + TOGETHER) for start in range(0, len(rows), TOGETHER)]

        def some(part: slice) -> list[int]:
            return [row for row, place in zip(rows[part], places[part], strict=True) if not self._into(row, place)]

        return [row for unread in self._pool.map(some, parts) for row in unread]

    def _into(self, row: int, place: Tensor) -> bool:
        pixels = place.permute(1, 2, 0).numpy()
        try:
            content = self.source.read(row)
            if not self._decoded(content, pixels):
                pixels[...] = self._square(read_image(io.BytesIO(content)))
        except (UnreadableImage, OSError):  # the latter from the source
            pixels[...] = 0
            return False
        return True

    def _decoded(self, content: bytes, pixels: NDArray[np.uint8]) -> bool:
        """Decode a JPEG that needs no resizing: to Pillow's bits in two thirds of its time.

        Any other image is left to Pillow, and a damaged one, for it to say what is wrong.
        """
        if not content.startswith(JPEG) or self.square.exif == "apply":
            return False
        try:
            height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
            if (height, width) != (self.size, self.size) or colours not in ("YCbCr", "RGB"):
                return False
            simplejpeg.decode_jpeg(content, buffer=pixels)
        except ValueError:
            return False
        return True
