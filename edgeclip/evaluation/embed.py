"""A data set through an encoder, once: images are decoded and prepared by threads while the model works.

Where an encoder says that several threads may use it at once (``concurrent``: ONNX Runtime's sessions), the threads run
it too, a batch each. A small tower gains more from that than from sharing one batch among the cores.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..base.console import progress_bar
from ..base.decode import UnreadableImage
from ..base.errors import EdgeclipError
from ..base.pictures import say_skipped
from ..encoder import Encoder, PixelEncoder
from ..images.labelled import Dataset, Example

if TYPE_CHECKING:
    from ..encoder import Embeddings

WORKERS = 3  # threads
AHEAD = 2  # batches a worker that wait for the model
BATCH = 64


@dataclass(frozen=True)
class Embedded:
    """The images of a data set as an encoder sees them."""

    image_embeds: NDArray[np.float32]  # [N, D], L2-normalised
    labels: NDArray[Any]  # int64 [N]; bool [N, C] where an image may be of several classes
    captions: list[Sequence[str]]  # of each image, where it has captions in place of a class
    keys: list[str] = field(default_factory=list)  # what people find each image by


def embed(
    encoder: Encoder, dataset: Dataset, *, batch: int = BATCH, workers: int = WORKERS, title: str = "embed"
) -> Embedded:
    """Embed every image of ``dataset`` that can be read, in its order.

    Raises:
        EdgeclipError: too many of its images cannot be read, or there is none.
    """
    embeds: list[Embeddings] = []
    labels: list[Any] = []
    keys: list[str] = []
    with progress_bar(title, len(dataset)) as bar:
        for ready, some_labels, names in prepared(encoder, dataset, batch=batch, workers=workers):
            embeds.append(ready())
            labels += some_labels
            keys += names
            bar.advance(len(some_labels))
    if not labels:
        raise EdgeclipError(f"{dataset.name}: it contains no image")
    if not dataset.classnames:
        return Embedded(np.concatenate(embeds), np.arange(len(labels)), labels, keys)
    return Embedded(np.concatenate(embeds), np.asarray(labels, bool if dataset.several else np.int64), [], keys)


def prepared(
    encoder: Encoder, dataset: Dataset, *, batch: int, workers: int
) -> Iterator[tuple[Callable[[], Embeddings], list[Any], list[str]]]:
    """Batch after batch: a call that embeds it, its labels and its keys. Reading and preparing run ahead in threads.

    Raises:
        EdgeclipError: too many of the images cannot be read.
    """
    dataset.broken = []
    examples = iter(dataset.source)
    together = getattr(encoder, "concurrent", False)
    waiting: deque[Future[tuple[Callable[[], Embeddings], list[Any], list[str], list[str]]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            while True:
                while len(waiting) < workers * AHEAD and (some := list(islice(examples, batch))):
                    waiting.append(pool.submit(_prepare, encoder, some, together))
                if not waiting:
                    break
                ready, labels, keys, broken = waiting.popleft().result()
                for key in broken:
                    dataset.note_broken(key)
                if labels:
                    yield ready, labels, keys
        finally:
            for future in waiting:
                future.cancel()
    say_skipped(dataset.broken, dataset.name)


def _prepare(
    encoder: Encoder, examples: Sequence[Example], together: bool
) -> tuple[Callable[[], Embeddings], list[Any], list[str], list[str]]:
    images: list[Image.Image] = []
    squares: list[Embeddings] = []
    labels: list[Any] = []
    keys, broken = [], []
    for example in examples:
        try:
            image = example.decode()
            if isinstance(encoder, PixelEncoder):
                squares.append(encoder.preprocess([image]))
            else:
                images.append(image)
        except UnreadableImage:
            broken.append(example.key)
        else:
            labels.append(example.label)
            keys.append(example.key)
    if not labels or not isinstance(encoder, PixelEncoder):
        return lambda: encoder.encode_image(images), labels, keys, broken
    pixels = np.concatenate(squares)
    if together:
        embeds = encoder.encode_pixels(pixels)
        return lambda: embeds, labels, keys, broken
    return lambda: encoder.encode_pixels(pixels), labels, keys, broken
