"""A step's inputs: what the student sees and reads, and what its teachers made of the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..base.console import say
from ..base.errors import EdgeclipError
from ..base.strings import StringsOnDisk
from ..data.processes import processes, views_device
from ..data.sampler import BatchSampler
from ..data.squares import Images
from ..data.views import Normalise, Views
from ..runtime.manifest import Preprocess
from .config import DistillConfig
from .objectives import Embeddings
from .targets import Targets


@dataclass
class Batch:
    """The step's inputs: what the student sees and reads, and what every teacher made of the same.

    Of pixels and tokens a process has its share; embeddings are small, so each has those of the whole batch.
    """

    pixels: Tensor  # float32 [N / processes, 3, S, S]
    tokens: Tensor | None  # int64 [M / processes, L]; None where the student keeps a teacher's text tower
    teachers: list[Embeddings]  # [N, D] and [M, D] each

    @property
    def tensors(self) -> list[Tensor]:
        """All that is in it."""
        teachers = [tensor for teacher in self.teachers for tensor in (teacher.images, teacher.texts)]
        return [self.pixels, *([] if self.tokens is None else [self.tokens]), *teachers]

    def to(self, device: torch.device) -> Batch:
        """The same on ``device``."""
        teachers = [Embeddings(embeds.images.to(device), embeds.texts.to(device)) for embeds in self.teachers]
        return Batch(self.pixels.to(device), None if self.tokens is None else self.tokens.to(device), teachers)


class Loader:
    """The batch of any step: a function of the settings and the step's number alone."""

    def __init__(
        self,
        config: DistillConfig,
        images: Images,
        sentences: StringsOnDisk,
        targets: Targets,
        views: Views,
        preprocess: Preprocess,
        tokenizer: Callable[[list[str]], Tensor] | None,
    ) -> None:
        """``tokenizer`` is that of the student's own text tower, where it has one."""
        self._images, self._sentences, self._targets, self._views = images, sentences, targets, views
        self._views_an_image, self._normalise, self._tokenizer = config.views, Normalise(preprocess), tokenizer
        self.pictures = BatchSampler(len(targets.rows), config.batch_size, config.seed)
        self.phrases = BatchSampler(len(sentences), config.batch_size, config.seed + 1)
        for name, count in (("images", len(targets.rows)), ("sentences", len(sentences))):
            if count < config.batch_size:
                say(f"only {count} {name} (batch size {config.batch_size}): every step uses all of them")
        self._share = share(len(self.pictures[0]))
        self._text_share = share(len(self.phrases[0])) if tokenizer else slice(0)

    def __call__(self, step: int) -> Batch:
        """Its images are this process's share, its embeddings the whole batch's."""
        view = step // self.pictures.batches % self._views_an_image
        rows = self._targets.rows[np.asarray(self.pictures[step])].tolist()
        phrases = self.phrases[step]
        mine = rows[self._share]
        squares = self._images[mine].to(views_device())  # as bytes, a quarter of what views of them would be
        pixels = self._normalise(self._views.apply(squares, self._images.seeds(mine), view))
        tokens = None
        if self._tokenizer:
            tokens = torch.as_tensor(self._tokenizer(self._sentences.some(phrases[self._text_share])))
        return Batch(pixels, tokens, self._targets.batch(view, rows, phrases))


def share(batch: int) -> slice:
    """Which rows of a batch are this process's.

    Raises:
        EdgeclipError: they cannot be shared out evenly.
    """
    state = processes()
    if batch % state.num_processes:
        raise EdgeclipError(f"a batch of {batch} cannot be shared by {state.num_processes} processes: set batch_size")
    each = batch // state.num_processes
    return slice(state.process_index * each, (state.process_index + 1) * each)


def prefetch(batch_of: Callable[[int], Batch], first: int, last: int) -> Iterator[tuple[Batch, int]]:
    """The batches of steps ``first`` to ``last``, each made in a thread while the one before it is used."""
    making = _Making(batch_of)
    with ThreadPoolExecutor(1) as worker:
        waiting = worker.submit(making, first) if first < last else None
        for step in range(first, last):
            assert waiting is not None
            batch = waiting.result()
            waiting = worker.submit(making, step + 1) if step + 1 < last else None
            making.hand_over(batch)
            yield batch, step


class _Making:
    """Makes batches where they are used. On a GPU in a stream of its own, else a copy waits for the step to end."""

    def __init__(self, batch_of: Callable[[int], Batch]) -> None:
        self._batch_of, self._device = batch_of, processes().device
        self._stream = torch.cuda.Stream(self._device) if self._device.type == "cuda" else None

    def __call__(self, step: int) -> Batch:
        """The step's batch, whole."""
        if self._stream is None:
            return self._batch_of(step)
        with torch.cuda.stream(self._stream):
            batch = self._batch_of(step).to(self._device)
        self._stream.synchronize()
        return batch

    def hand_over(self, batch: Batch) -> None:
        """Keep its memory from the next one until the stream that uses it from here on is done with it."""
        if self._stream is not None:
            for tensor in batch.tensors:
                tensor.record_stream(torch.cuda.current_stream(self._device))
