"""Unpaired images and sentences: found, checked, decoded, and seen in views that can be replayed."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..console import progress_bar, say
from ..device.facts import usable_cores
from ..errors import EdgeclipError
from ..runtime.manifest import Preprocess
from ..runtime.preprocess import Preprocessor
from .config import Augment

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
BROKEN_LIMIT = 0.05
MEMORY_LIMIT = 2 << 30  # bytes of decoded images kept; beyond it they are decoded each time


def find_images(folder: Path) -> list[Path]:
    """Every image file below ``folder``, sorted by its path.

    Raises:
        EdgeclipError: there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise EdgeclipError(f"{folder}: no such folder of images")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise EdgeclipError(f"{folder}: no images in it ({', '.join(sorted(SUFFIXES))} are looked for)")
    return found


def read_sentences(path: Path) -> list[str]:
    """The distinct sentences of a ``.txt`` (one a line) or ``.jsonl`` file (objects with "text"), in its order.

    Raises:
        EdgeclipError: the file is missing, empty or not text, or a line of it is not as it should be.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise EdgeclipError(f"{path}: no such file of sentences") from None
    except (OSError, UnicodeDecodeError) as error:
        raise EdgeclipError(f"{path}: cannot be read as UTF-8 text ({error})") from error
    if path.suffix == ".jsonl":
        lines = [_text_of(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip()]
    sentences = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not sentences:
        raise EdgeclipError(f"{path}: no sentences in it")
    return sentences


class Images:
    """Decoded images as squares of one size, uint8 ``[3, S, S]``; unreadable ones are left out, counted and named."""

    def __init__(self, folder: Path, size: int, preprocess: Preprocess) -> None:
        """``preprocess`` says how an image becomes a square; its size is replaced by ``size``.

        Raises:
            EdgeclipError: nothing can be read, or more than 5 % cannot.
        """
        self._square = Preprocessor(preprocess.model_copy(update={"size": size})).square
        self.size = size
        self._pool = ThreadPoolExecutor(usable_cores())
        files = find_images(folder)
        kept = len(files) * 3 * size * size <= MEMORY_LIMIT
        self._cache: Tensor | None = torch.empty(len(files), 3, size, size, dtype=torch.uint8) if kept else None
        good = self._read_all(files)
        broken = [file for file, fine in zip(files, good, strict=True) if not fine]
        if broken:
            names = ", ".join(str(file.relative_to(folder)) for file in broken[:5]) + ("…" if len(broken) > 5 else "")
            if len(broken) > BROKEN_LIMIT * len(files):
                raise EdgeclipError(f"{folder}: {len(broken)} of {len(files)} images cannot be read ({names})")
            say(f"{len(broken)} unreadable image(s) skipped: {names}")
        self.broken = [str(file.relative_to(folder)) for file in broken]
        self.files = [file for file, fine in zip(files, good, strict=True) if fine]
        self.keys = [str(file.relative_to(folder)) for file in self.files]
        if self._cache is not None and broken:
            self._cache = self._cache[torch.tensor(good)]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, rows: Sequence[int]) -> Tensor:
        """uint8 ``[len(rows), 3, S, S]``."""
        if self._cache is not None:
            return self._cache[torch.as_tensor(rows)]
        return torch.stack(list(self._pool.map(lambda row: self._decode(self.files[row]), rows)))

    def _read_all(self, files: Sequence[Path]) -> list[bool]:
        """Decode everything once: into memory where it fits, else only to learn what is broken."""
        good = []
        with progress_bar("decode images", len(files)) as bar:
            for row, image in enumerate(self._pool.map(self._try_decode, files)):
                good.append(image is not None)
                if image is not None and self._cache is not None:
                    self._cache[row] = image
                bar.advance()
        return good

    def _try_decode(self, file: Path) -> Tensor | None:
        try:
            return self._decode(file)
        except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError):
            return None

    def _decode(self, file: Path) -> Tensor:
        with Image.open(file) as image:
            square = np.array(self._square(image))
        return torch.from_numpy(square).permute(2, 0, 1)


class Views:
    """The augmented views of every image: a table of affine maps that depends on nothing but seed, view and row."""

    def __init__(self, augment: Augment, seed: int, rows: int) -> None:
        self._augment, self._seed, self._rows = augment, seed, rows
        self._tables: dict[int, Tensor] = {}

    def table(self, view: int) -> Tensor:
        """The maps of one view, float32 ``[rows, 2, 3]``, output to input in [-1, 1] coordinates."""
        if view not in self._tables:
            self._tables = {view: self._make(view)}  # only the one in use is kept
        return self._tables[view]

    def _make(self, view: int) -> Tensor:
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + view)
        draw = torch.rand(self._rows, 6, generator=generator)
        own = self._augment
        side = (own.area[0] + (own.area[1] - own.area[0]) * draw[:, 0]).sqrt()
        stretch = torch.exp((draw[:, 1] * 2 - 1) * math.log1p(own.aspect) / 2)
        wide, high = (side * stretch).clamp(max=1), (side / stretch).clamp(max=1)
        angle = (draw[:, 2] * 2 - 1) * math.radians(own.rotate)
        mirror = torch.where((draw[:, 3] < 0.5) & own.flip, -1.0, 1.0)
        left, top = (draw[:, 4] * 2 - 1) * (1 - wide), (draw[:, 5] * 2 - 1) * (1 - high)
        first = torch.stack([wide * angle.cos() * mirror, -wide * angle.sin(), left], dim=1)
        second = torch.stack([high * angle.sin() * mirror, high * angle.cos(), top], dim=1)
        return torch.stack([first, second], dim=1)

    def apply(self, images: Tensor, rows: Sequence[int], view: int) -> Tensor:
        """Views of uint8 ``[N, 3, S, S]`` images: float32 ``[N, 3, S, S]`` in 0..255."""
        maps = self.table(view)[torch.as_tensor(rows)]
        grid = F.affine_grid(maps, list(images.shape), align_corners=False)
        return F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)


class Normalise:
    """0..255 pixels of any size -> a tower's normalised input of its own size."""

    def __init__(self, preprocess: Preprocess) -> None:
        self.size = preprocess.size
        self._mean = 255 * torch.tensor(preprocess.mean).view(1, 3, 1, 1)
        self._std = 255 * torch.tensor(preprocess.std).view(1, 3, 1, 1)

    def __call__(self, pixels: Tensor) -> Tensor:
        """float32 ``[N, 3, s, s]`` -> float32 ``[N, 3, size, size]``."""
        if pixels.shape[-1] != self.size:
            pixels = F.interpolate(pixels, size=(self.size, self.size), mode="bilinear", antialias=True)
        return (pixels - self._mean) / self._std


class Shuffle:
    """Endless batches of row numbers, each pass in a new order that depends on nothing but seed and pass."""

    def __init__(self, rows: int, batch: int, seed: int) -> None:
        self._rows, self._batch, self._seed = rows, min(batch, rows), seed
        self.batches = max(1, rows // self._batch)  # a pass; what does not fill a batch waits for the next pass
        self._order: tuple[int, Tensor] | None = None

    def __getitem__(self, step: int) -> list[int]:
        """The rows of batch ``step``, counted from the very first pass."""
        turn, place = divmod(step, self.batches)
        if self._order is None or self._order[0] != turn:
            generator = torch.Generator().manual_seed(self._seed * 1_000_003 + turn)
            self._order = turn, torch.randperm(self._rows, generator=generator)
        start = place * self._batch
        return self._order[1][start : start + self._batch].tolist()


def _text_of(line: str, where: str) -> str:
    try:
        return str(json.loads(line)["text"])
    except (ValueError, KeyError, TypeError) as error:
        raise EdgeclipError(f'{where}: not a JSON object with "text"') from error
