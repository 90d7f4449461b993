"""A bundle's towers in the engine of its target, or another that is asked for, behind the Encoder protocol."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..base.console import say
from ..base.decode import Picture, as_images
from ..base.errors import EdgeclipError, FormatError
from ..encoder import as_texts
from .engines.registry import DEFAULT, find_engine
from .manifest import Manifest, Variant
from .perprocess import PerProcess, without_opened
from .phrases import Phrases
from .plain import asked_runtime
from .preprocess import Preprocessor
from .tokenizer import open_tokenizer
from .towerjob import RuntimeOptions, TowerJob, tower_job

if TYPE_CHECKING:
    from .engines.protocol import Session

BATCH = 32


class OnnxEncoder:
    """A :class:`~edgeclip.encoder.PixelEncoder`. Sessions are opened when first used, by each process for itself."""

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        variant: Variant,
        *,
        threads: int | None = None,
        provider: str | None = None,
        engine: str | None = None,
    ) -> None:
        self.folder, self._manifest, self._variant = folder, manifest, variant
        self.engine, self.provider = asked_runtime({"target": manifest.target.model_dump()}, engine, provider)
        self.threads = threads
        self.precision = variant.precision
        self.embed_dim = manifest.embed_dim
        self.image_size = manifest.preprocess.size
        self.image_bytes = variant.size
        self.logit_scale = manifest.logit_scale
        self._preprocess = Preprocessor(manifest.preprocess)

    @cached_property
    def runtime(self) -> str:
        """The engine and its version; its name alone where only a device that is reached from here has it."""
        with suppress(EdgeclipError):
            return f"{self.engine} {find_engine(self.engine).version()}"
        return self.engine

    def __getstate__(self) -> dict[str, Any]:
        return without_opened(self)

    @property
    def job(self) -> TowerJob:
        """What a worker needs to hold the image tower in a process of its own."""
        options = RuntimeOptions(self.engine, self.provider, self.threads)
        return tower_job(self.folder, self._manifest.model_dump(mode="json"), self.precision, options)

    @property
    def fingerprint(self) -> str:
        """Of all that its embeddings depend on: the manifest holds the hash of every file."""
        return hashlib.sha256(f"{self._variant.file} {self._manifest.model_dump_json()}".encode()).hexdigest()

    @PerProcess
    def image_session(self) -> Session:
        """The image tower."""
        path, engine = Path(self.job.graph), find_engine(self.engine, self.provider)
        wanted = self.provider or engine.provider
        session = engine.open(path, threads=self.threads, precision=self.precision, provider=wanted)
        if (taken := session.providers[0]) != wanted:
            say(f"{path.name}: {wanted} could not be used here; {taken} takes its place")
        return session

    @property
    def concurrent(self) -> bool:
        """Several threads may encode images at once: the session that they share is open by then."""
        return self.image_session.concurrent

    @PerProcess
    def text_session(self) -> Session:
        """The text tower, where there is one."""
        assert self._manifest.text is not None  # `encode_text` asks no session where there are phrases
        engine = find_engine(DEFAULT)
        here = self.engine == DEFAULT and self.provider in engine.providers()  # else it is that of another machine
        provider = self.provider if here else None
        graph = self.folder / self._manifest.text.file
        return engine.open(graph, threads=self.threads, provider=provider)

    @PerProcess
    def tokenizer(self) -> Callable[[Sequence[str]], NDArray[np.int64]]:
        """Texts to ids."""
        settings = self._manifest.tokenizer
        assert settings is not None
        path = self.folder / settings.file
        return open_tokenizer(path, settings)

    @PerProcess
    def phrases(self) -> Phrases | None:
        """The texts that can be embedded, where there is no text tower."""
        settings = self._manifest.phrases
        return Phrases(self.folder, settings.model_dump()) if settings else None

    def preprocess(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """float32 ``[N, 3, S, S]``."""
        return self._preprocess(images)

    def encode_pixels(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 ``[N, 3, S, S]`` -> float32 ``[N, embed_dim]``, L2-normalised."""
        return _run(self.image_session, pixels, self.embed_dim)

    def encode_image(self, images: Picture | Sequence[Picture]) -> NDArray[np.float32]:
        """Embed pictures, or files, or one alone: float32 ``[N, embed_dim]``, L2-normalised."""
        return self.encode_pixels(self.preprocess(as_images(images)))

    def encode_text(self, texts: str | Sequence[str]) -> NDArray[np.float32]:
        """Embed texts, or one alone: float32 ``[N, embed_dim]``, L2-normalised.

        Raises:
            EdgeclipError: the bundle has no text tower, and a text is none of those it was exported with.
        """
        texts = as_texts(texts)
        if self.phrases:
            return self.phrases(texts)
        return _run(self.text_session, self.tokenizer(texts), self.embed_dim)


def _run(session: Session, rows: NDArray[np.generic], width: int) -> NDArray[np.float32]:
    if not len(rows):
        return np.empty((0, width), np.float32)
    parts = [session.run(rows[i : i + BATCH]) for i in range(0, len(rows), BATCH)]
    if parts[0].shape[1] != width:
        raise FormatError(f"the graph gives {parts[0].shape[1]} numbers, its manifest says {width}: export it again")
    return np.concatenate(parts) if len(parts) > 1 else parts[0]
