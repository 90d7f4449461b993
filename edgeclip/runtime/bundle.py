"""Open a bundle: check that it is whole, and hand out its encoders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import EdgeclipError, FormatError
from ..files import read_document, sha256
from .manifest import Artefact, Manifest
from .onnxencoder import OnnxEncoder
from .session import CPU

MANIFEST = "bundle.json"


@dataclass(frozen=True)
class Bundle:
    """A folder with towers, tokenizer and golden values, and the manifest that describes them."""

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: Path, *, verify: bool = True) -> Bundle:
        """Read the manifest and check every file's size and hash against it.

        Raises:
            EdgeclipError: there is no bundle at ``path``.
            FormatError: a file is missing or altered, or the bundle is of a newer format.
        """
        if not (path / MANIFEST).is_file():
            raise EdgeclipError(f"{path} is no bundle (no {MANIFEST} there): make one with edgeclip export")
        bundle = cls(path, read_document(path / MANIFEST, Manifest))
        if verify:
            for artefact in bundle.artefacts:
                _check(path, artefact)
        return bundle

    @property
    def artefacts(self) -> list[Artefact]:
        """Every file that the manifest vouches for."""
        own = self.manifest
        return [*own.variants, own.text, own.tokenizer, own.golden]

    def encoder(self, precision: str | None = None, *, threads: int | None = None, provider: str = CPU) -> OnnxEncoder:
        """The variant of that precision, or the recommended one.

        Raises:
            EdgeclipError: the bundle holds no such variant.
        """
        variant = self.manifest.variant(precision or self.manifest.recommended)
        if variant is None:
            there = ", ".join(v.precision for v in self.manifest.variants)
            raise EdgeclipError(f"{self.path} holds no {precision} variant; it holds {there}")
        return OnnxEncoder(self.path, self.manifest, variant, threads=threads, provider=provider)

    def classify(
        self, images: Sequence[Image.Image], labels: Sequence[str], encoder: OnnxEncoder | None = None
    ) -> np.ndarray:
        """The probability of each label for each image: float32 ``[images, labels]``, rows sum to 1."""
        encoder = encoder or self.encoder()
        logits = encoder.logit_scale * encoder.encode_image(images) @ encoder.encode_text(labels).T
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)


def _check(folder: Path, artefact: Artefact) -> None:
    file = folder / artefact.file
    if not file.is_file():
        raise FormatError(f"{folder}: {artefact.file} is missing: export or copy the bundle again")
    if file.stat().st_size != artefact.bytes or sha256(file) != artefact.sha256:
        raise FormatError(f"{folder}: {artefact.file} is not what was exported: export or copy the bundle again")
