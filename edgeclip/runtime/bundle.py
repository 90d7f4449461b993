"""Open a bundle: check that it is whole, and hand out its encoders."""

from __future__ import annotations

import atexit
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from ..base.documents import read_document
from ..base.errors import EdgeclipError, FormatError
from ..base.files import sha256
from ..base.scratch import scratch_folder
from ..base.visible import escape
from .archive import is_archive, told_as, unpack
from .labels import odds
from .manifest import Artefact, File, Manifest
from .onnxencoder import OnnxEncoder

MANIFEST, KIND = "bundle.json", "bundle"


@dataclass(frozen=True)
class Bundle:
    """A folder with towers, tokenizer and golden values, and the manifest that describes them."""

    path: Path
    manifest: Manifest
    _labels: dict[tuple[str, ...], np.ndarray] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def open(cls, path: Path, *, verify: bool = True) -> Bundle:
        """Read the manifest and check every file's size and hash against it.

        ``path`` is a folder, or a ``.zip`` or ``.tar`` of one, which is unpacked until the process ends.

        Raises:
            EdgeclipError: there is no bundle at ``path``.
            FormatError: a file is missing or altered, the bundle is of a newer format, or an archive is unsafe.
        """
        if is_archive(path):
            scratch = scratch_folder()
            folder = scratch.__enter__()
            atexit.register(scratch.__exit__, None, None, None)
            inside = unpack(path, folder)
            with told_as(path, inside):
                return cls.open(inside, verify=verify)
        if not (path / MANIFEST).is_file():
            raise EdgeclipError(f"{path} is not a bundle ({MANIFEST} is missing): create one with edgeclip export")
        bundle = cls(path, read_document(path / MANIFEST, Manifest))
        if verify:
            for artefact in bundle.artefacts:
                _check(path, artefact)
        return bundle

    def __repr__(self) -> str:
        """The folder, and each variant with its size."""
        sizes = ", ".join(f"{variant.precision} {variant.size / 1e6:.1f} MB" for variant in self.manifest.variants)
        return f"Bundle({self.path}: {sizes}; {self.manifest.chosen} is used)"

    def _repr_html_(self) -> str:
        """The variants as a table, for notebooks."""
        manifest = self.manifest
        rows = [
            f"<tr><td>{variant.precision}</td><td>{variant.size / 1e6:.2f}</td><td>{escape(variant.file)}</td></tr>"
            for variant in manifest.variants
        ]
        head = "<tr><th>variant</th><th>MB</th><th>file</th></tr>"
        caption = f"{escape(str(self.path))}, for {escape(manifest.target.runtime.told)}; {manifest.chosen} is used"
        return f"<table><caption>{caption}</caption>{head}{''.join(rows)}</table>"

    @property
    def sha256(self) -> str:
        """Of the manifest, which holds those of all other files."""
        return sha256(self.path / MANIFEST)

    @property
    def artefacts(self) -> list[File]:
        """Every file that the manifest vouches for, weights beside their graphs too."""
        manifest = self.manifest
        all_of_them: list[Artefact | None] = [
            *manifest.variants,
            manifest.text,
            manifest.tokenizer,
            manifest.phrases,
            manifest.golden,
        ]
        named = [artefact for artefact in (*all_of_them, manifest.runner, *manifest.extras) if artefact]
        return [*named, *(artefact.weights for artefact in named if artefact.weights)]

    def encoder(
        self,
        precision: str | None = None,
        *,
        threads: int | None = None,
        provider: str | None = None,
        engine: str | None = None,
    ) -> OnnxEncoder:
        """The variant of that precision, or the one that the manifest chooses, in the engine asked for or its target's.

        Raises:
            EdgeclipError: the bundle holds no such variant, or the engine cannot be used here.
        """
        variant = self.manifest.variant(precision or self.manifest.chosen)
        if variant is None:
            there = ", ".join(v.precision for v in self.manifest.variants)
            raise EdgeclipError(f"{self.path} holds no {precision} variant; it holds {there}")
        return OnnxEncoder(self.path, self.manifest, variant, threads=threads, provider=provider, engine=engine)

    def classify(
        self, images: Sequence[Image.Image], labels: Sequence[str], encoder: OnnxEncoder | None = None
    ) -> np.ndarray:
        """The probability of each label for each image: float32 ``[images, labels]``.

        Rows sum to 1, but for SigLIP and its kin, where each label has a probability of its own.
        """
        encoder, labels_asked = encoder or self.encoder(), tuple(labels)
        if labels_asked not in self._labels:  # the last ones are kept: mostly the same are asked of image after image
            self._labels.clear()
            self._labels[labels_asked] = encoder.encode_text(labels)
        cosines = encoder.encode_image(images) @ self._labels[labels_asked].T
        return odds(cosines, self.manifest.logit_scale, self.manifest.logit_bias)


def _check(folder: Path, artefact: File) -> None:
    file = folder / artefact.file
    if not file.is_file():
        raise FormatError(f"{folder}: {artefact.file} is missing: export or copy the bundle again")
    if file.stat().st_size != artefact.bytes or sha256(file) != artefact.sha256:
        raise FormatError(f"{folder}: {artefact.file} differs from what was exported: export or copy the bundle again")
