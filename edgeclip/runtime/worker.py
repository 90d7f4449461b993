"""One image tower in a process of its own, which does as it is told: its crash is a row in the report, not the end.

The process reads one JSON object a line on stdin, ``{"do": NAME, ...}``, and answers each with one JSON line:
``{"answer": what was measured}``, or ``{"failed": reason}``. :class:`~edgeclip.runtime.turns.Worker` is the other side.
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..base.decode import UnreadableImage, read_image
from ..base.errors import is_mendable
from .engines.protocol import HotSpots, Session
from .engines.registry import find_engine
from .memory import own_peak_mb
from .preprocess import Preprocessor
from .timing import burst, percentiles
from .towerjob import TowerJob
from .turns import ANSWER, FAILED, PROGRESS

PHOTO = (640, 480)  # what a camera might give, where there is no image of the user's
PEAK_IMAGES = 8  # one after another: the arena has grown to its size by then
PROFILED_RUNS = 30
BATCH = 32


@dataclass(frozen=True)
class Opened:
    """What it took to open a graph and to be ready for images."""

    engine: str
    version: str
    import_ms: float  # of the engine's library
    load_ms: float  # of the graph
    first_ms: float  # the first inference after loading
    peak_memory_mb: float | None  # of the process; None where the system does not tell
    asked_provider: str
    providers: list[str]  # those that the engine took


@dataclass(frozen=True)
class FileToEmbedding:
    """From an image file's bytes to its embedding, ms: medians of the parts, percentiles of the whole."""

    image: str
    total_ms: dict[str, float]
    decode_ms: float
    preprocess_ms: float
    inference_ms: float


@dataclass(frozen=True)
class EmbeddedImages:
    """How many images were embedded, and the numbers of those that cannot be read."""

    images: int
    broken: list[int]


class Tower:
    """A graph that is opened, timed, looked into and fed, one command a method."""

    def __init__(self, job: TowerJob, tell: Callable[[int], None] = lambda done: None) -> None:
        """Take the job; ``tell`` is told now and then how far a long command is."""
        self.tell = tell
        self.graph, self.engine = Path(job.graph), find_engine(job.engine, job.provider)
        self.provider = job.provider or self.engine.provider
        self._settings: dict[str, Any] = {"precision": job.precision, "threads": job.threads, "provider": self.provider}
        settings = job.preprocess
        self._preprocess = Preprocessor(SimpleNamespace(**settings)) if settings else None  # type: ignore[arg-type]
        size = settings["size"] if settings else job.image_size
        assert size is not None, "a job has ``preprocess`` or ``image_size``"
        self._one = np.random.default_rng(0).standard_normal((1, 3, size, size), dtype=np.float32)

    def open(self) -> Opened:
        """Load the graph, run it for the first time, and encode a few images: what that takes, ms and MB."""
        begin = time.perf_counter()
        version = self.engine.version()  # the library is imported for it
        imported = time.perf_counter()
        session = self.session
        loaded = time.perf_counter()
        self.run()
        ran = time.perf_counter()
        for shade in range(PEAK_IMAGES if self._preprocess else 0):
            self.encode([Image.new("RGB", PHOTO, (shade, 0, 0))])
        return Opened(
            engine=self.engine.name,
            version=version,
            import_ms=1e3 * (imported - begin),
            load_ms=1e3 * (loaded - imported),
            first_ms=1e3 * (ran - loaded),
            peak_memory_mb=own_peak_mb(),
            asked_provider=self.provider,
            providers=list(session.providers),
        )

    @cached_property
    def session(self) -> Session:
        """The graph, loaded when it is first asked for."""
        return self.engine.open(self.graph, **self._settings)

    def run(self) -> NDArray[np.float32]:
        """Encode one preprocessed image: what is timed."""
        return self.session.run(self._one)

    def burst(self, seconds: float) -> list[float]:
        """Single images for so long; the calls' milliseconds."""
        return burst(self.run, seconds=seconds)

    def batch(self, size: int, seconds: float) -> float:
        """Images a second in batches of ``size``."""
        many = np.repeat(self._one, size, axis=0)
        ms = burst(lambda: self.session.run(many), seconds=seconds, least=2)
        return 1e3 * size / float(np.median(ms))

    def end_to_end(self, seconds: float, file: str | None = None, archive: str | None = None) -> FileToEmbedding:
        """From an image file's bytes to its embedding: p50 of decoding, preprocessing and inference, and of all."""
        content = _content(file, archive) if file else _photo()
        parts: dict[str, list[float]] = {"decode_ms": [], "preprocess_ms": [], "inference_ms": []}

        def one() -> None:
            begin = time.perf_counter()
            image = read_image(io.BytesIO(content))
            decoded = time.perf_counter()
            pixels = self._pixels([image])
            ready = time.perf_counter()
            self.session.run(pixels)
            for name, took in zip(parts, (decoded - begin, ready - decoded, time.perf_counter() - ready), strict=True):
                parts[name].append(1e3 * took)

        every = burst(one, seconds=seconds)
        return FileToEmbedding(
            image=Path(file).name if file else f"a made-up JPEG of {PHOTO[0]} x {PHOTO[1]}",
            total_ms=percentiles(every),
            **{name: float(np.median(samples)) for name, samples in parts.items()},
        )

    def hot_spots(self, runs: int = PROFILED_RUNS) -> HotSpots:
        """Where the time goes: each kind of operator's share, and the nodes that another provider than asked ran."""
        return self.engine.hot_spots(self.graph, self._one, runs=runs, **self._settings)

    def embed(self, files: Sequence[str], out: str, archive: str | None = None) -> EmbeddedImages:
        """Images through this device's own preprocessing and this tower: float32 ``[N, D]`` into ``out`` (``.npy``).

        ``files`` are paths, or members of the zip file ``archive``. Rows of those that cannot be read are zeros, and
        their numbers are in ``broken``.
        """
        rows, broken = [], []
        blank = Image.new("RGB", PHOTO)
        for start in range(0, len(files), BATCH):
            images = []
            for number, file in enumerate(files[start : start + BATCH], start):
                try:
                    images.append(read_image(io.BytesIO(_content(file, archive)), file))
                except (UnreadableImage, OSError):
                    broken.append(number)
                    images.append(blank)
            rows.append(self.encode(images))
            self.tell(start + len(images))
        embeds = np.concatenate(rows).astype(np.float32)
        embeds[broken] = 0
        np.save(out, embeds)
        return EmbeddedImages(len(embeds), broken)

    def give(self, inputs: str, out: str) -> int:
        """The graph's output on ``inputs`` into ``out``, both ``.npy``; its rows."""
        embeds = self.session.run(np.load(inputs, allow_pickle=False))
        np.save(out, embeds)
        return len(embeds)

    def _pixels(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        assert self._preprocess is not None, "a reference graph sees no images"
        return self._preprocess(images)

    def encode(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Embed decoded images: float32 ``[N, D]``, L2-normalised."""
        return self.session.run(self._pixels(images))


def _content(file: str, archive: str | None) -> bytes:
    if archive is None:
        return Path(file).read_bytes()
    return _opened(archive).read(file)


@lru_cache(maxsize=1)
def _opened(archive: str) -> zipfile.ZipFile:
    """Opened once: reading its directory for every image would take longer than the images."""
    return zipfile.ZipFile(archive)


def _photo() -> bytes:
    """A JPEG with something in it to decode."""
    ramp = np.add.outer(np.arange(PHOTO[1]), np.arange(PHOTO[0]))
    pixels = np.stack([ramp % 256, ramp * 3 % 251, ramp // 2 % 256], axis=-1).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


COMMANDS: dict[str, Callable[..., Any]] = {
    name: getattr(Tower, name) for name in ("open", "burst", "batch", "end_to_end", "hot_spots", "embed", "give")
}


def work(job: TowerJob) -> None:
    """Answer commands until stdin ends. What else writes to stdout (a native library) goes to stderr."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    tower = None

    def tell(kind: str, value: Any) -> None:
        answers.write(json.dumps({kind: value}, default=asdict) + "\n")
        answers.flush()

    for line in sys.stdin:
        command = json.loads(line)
        try:
            tower = tower or Tower(job, lambda done: tell(PROGRESS, done))
            tell(ANSWER, COMMANDS[command.pop("do")](tower, **command))
        except Exception as error:
            if not is_mendable(error):
                raise
            tell(FAILED, str(error))


if __name__ == "__main__":
    work(TowerJob(**json.loads(sys.argv[1])))
