"""Batches of rows that can be replayed: they depend on nothing but a seed and a step's number."""

from __future__ import annotations

import torch
from torch import Tensor


class BatchSampler:
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
