"""Teachers: an open_clip model, any Encoder of one's own, or the feature store that a teacher left behind."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from ..base.documents import Document, Positive, Side, Width, read_document
from ..base.errors import EdgeclipError, FormatError
from ..base.files import write_bytes
from ..base.strings import digest
from ..data.processes import processes
from ..data.views import Normalise
from ..encoder import Encoder
from ..models.openclip import OpenClipEncoder
from ..models.tokenizers import FileTokenizer, write_tokenizer
from ..runtime.manifest import Preprocess, TokenizerRules
from .objectives import SCALE

STORED = "store:"
TEACHER, TEXT_WEIGHTS, TOKENIZER = "teacher.json", "text.safetensors", "tokenizer.json"
PROBES = ("a photo of a cat", "Ünïcode & <markup>, 12 of it", "")
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@dataclass
class TextTower:
    """Everything of an open_clip model but its image tower."""

    config: dict[str, Any]  # model_cfg without embed_dim and vision_cfg
    weights: dict[str, Tensor]
    tokenizer: Any  # texts -> int64 [N, context]: one of open_clip's, or a FileTokenizer


class Teacher(Protocol):
    """What distillation needs of a teacher."""

    name: str
    fingerprint: str  # of all that its embeddings depend on
    embed_dim: int
    logit_scale: float
    image_size: int
    preprocess: Preprocess
    text: TextTower | None  # None: the student needs a text tower of its own

    def check(self) -> None:
        """Before any work: can a student that keeps the text tower read what this teacher reads?

        Raises:
            EdgeclipError: it cannot: its tokenizer has no form that a device could use.
        """
        ...

    def encode_squares(self, pixels: Tensor) -> np.ndarray:
        """Embed views: float32 ``[N, 3, s, s]`` in 0..255, on any device -> float32 ``[N, embed_dim]``, normalised."""
        ...

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """Embed sentences: float32 ``[N, embed_dim]``, L2-normalised."""
        ...


def as_teacher(name: str, encoder: Encoder) -> Teacher:
    """Any Encoder as a teacher."""
    return OpenClipTeacher(name, encoder) if isinstance(encoder, OpenClipEncoder) else PluginTeacher(name, encoder)


class OpenClipTeacher:
    """An open_clip model, on the accelerator where there is one."""

    def __init__(self, name: str, encoder: OpenClipEncoder) -> None:
        self.name, self._encoder = name, encoder
        self.embed_dim, self.logit_scale, self.image_size = encoder.embed_dim, encoder.logit_scale, encoder.image_size
        self.preprocess = Preprocess(**encoder.preprocess_cfg)
        self.fingerprint = encoder.fingerprint
        config = {key: value for key, value in encoder.config.items() if key not in ("embed_dim", "vision_cfg")}
        others = ("visual.", "text_decoder.")  # a caption decoder takes no part in encoding
        weights = {key: value for key, value in encoder.model.state_dict().items() if not key.startswith(others)}
        self.text: TextTower | None = TextTower(config, weights, encoder.tokenizer)
        self.image_tower = encoder.model.visual
        encoder.model.to(processes().device)
        self._normalise = Normalise(self.preprocess)

    def check(self) -> None:
        """See :class:`Teacher`."""
        self._encoder.check_tokenizer()

    def encode_squares(self, pixels: Tensor) -> np.ndarray:
        """See :class:`Teacher`."""
        return self._encoder.encode_tensor(self._normalise(pixels))

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """See :class:`Teacher`."""
        return self._encoder.encode_text(texts)


class PluginTeacher:
    """Any :class:`~edgeclip.encoder.Encoder`: it is given decoded images and texts, and preprocesses them itself.

    It may tell its ``fingerprint``, ``logit_scale`` and ``image_size`` (else 100 and 224 are taken); where it does not
    tell a fingerprint, what it makes of a few fixed images and texts is one.
    """

    def __init__(self, name: str, encoder: Encoder) -> None:
        self.name, self._encoder = name, encoder
        self.text: TextTower | None = None
        self.embed_dim = int(encoder.embed_dim)
        self.logit_scale = float(getattr(encoder, "logit_scale", SCALE))
        self.image_size = int(getattr(encoder, "image_size", 224))
        self.preprocess = Preprocess(size=self.image_size, mean=CLIP_MEAN, std=CLIP_STD)
        fingerprint = getattr(encoder, "fingerprint", None)
        self.fingerprint = str(fingerprint) if fingerprint else self._behaviour()

    def check(self) -> None:
        """See :class:`Teacher`: it lends no text tower."""

    def encode_squares(self, pixels: Tensor) -> np.ndarray:
        """See :class:`Teacher`."""
        squares = pixels.round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
        return self._checked(self._encoder.encode_image([Image.fromarray(square) for square in squares]), len(pixels))

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """See :class:`Teacher`."""
        return self._checked(self._encoder.encode_text(list(texts)), len(texts))

    def _behaviour(self) -> str:
        noise = np.random.default_rng(0).integers(0, 256, (3, 3, self.image_size, self.image_size))
        seen = [self.encode_squares(torch.from_numpy(noise.astype(np.float32))), self.encode_text(PROBES)]
        return digest([np.concatenate(seen).round(4).tobytes().hex()])

    def _checked(self, embeds: Any, count: int) -> np.ndarray:
        checked = np.asarray(embeds, np.float32)
        if checked.shape != (count, self.embed_dim):
            wanted = f"[{count}, {self.embed_dim}]"
            raise EdgeclipError(f"teacher {self.name} gave embeddings of shape {list(checked.shape)}, not {wanted}")
        if not np.allclose(np.linalg.norm(checked, axis=1), 1, atol=1e-2):
            raise EdgeclipError(f"teacher {self.name} gave embeddings that are not L2-normalised")
        return checked


class TeacherDocument(Document):
    """``teacher.json`` in a feature store: what is known of a teacher that is not at hand."""

    FORMAT: ClassVar[str] = "edgeclip-teacher"
    VERSION: ClassVar[int] = 2

    name: str
    fingerprint: str
    embed_dim: Width
    logit_scale: Positive
    image_size: Side
    preprocess: Preprocess
    text_config: dict[str, Any] | None = None
    tokenizer: TokenizerRules | None = None  # of its tokenizer.json; without one, of open_clip's own tokenizer


class StoredTeacher:
    """A teacher known by its feature store alone: every embedding asked of it must be there already."""

    image_tower = None

    def __init__(self, folder: Path) -> None:
        """Open what :func:`keep_teacher` wrote into ``folder``.

        Raises:
            EdgeclipError: there is no store.
            FormatError: it is truncated.
        """
        files = sorted(folder.glob(f"*/{TEACHER}")) if not (folder / TEACHER).is_file() else [folder / TEACHER]
        if len(files) != 1:
            names = ", ".join(path.parent.name for path in files) or "none"
            raise EdgeclipError(f"{STORED}{folder}: name the folder of one teacher's store (there: {names})")
        self.folder = files[0].parent
        document = read_document(files[0], TeacherDocument)
        self.name, self.fingerprint, self.embed_dim = document.name, document.fingerprint, document.embed_dim
        self.logit_scale, self.image_size = document.logit_scale, document.image_size
        self.preprocess = document.preprocess
        self.text = self._text(document)

    def check(self) -> None:
        """See :class:`Teacher`: it was checked when its store was made."""

    def encode_squares(self, pixels: Tensor) -> np.ndarray:
        """See :class:`Teacher`."""
        raise self._not_at_hand("images")

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """See :class:`Teacher`."""
        raise self._not_at_hand("sentences")

    def _not_at_hand(self, what: str) -> EdgeclipError:
        return EdgeclipError(f"{self.folder} lacks some {what}: give the teacher itself, {self.name}, to add them")

    def _text(self, document: TeacherDocument) -> TextTower | None:
        if document.text_config is None:
            return None
        try:
            weights = load_file(self.folder / TEXT_WEIGHTS)
        except (OSError, SafetensorError) as error:
            raise FormatError(f"{self.folder / TEXT_WEIGHTS} is missing or truncated") from error
        if document.tokenizer is None:
            raise FormatError(f"{self.folder / TEACHER}: it names no tokenizer: make the store again")
        file, rules = self.folder / TOKENIZER, document.tokenizer
        if file.is_file():
            return TextTower(document.text_config, weights, FileTokenizer(file, rules))
        tokenizer = open_clip.SimpleTokenizer(context_length=rules.context_length, clean=rules.clean)
        return TextTower(document.text_config, weights, tokenizer)


def keep_teacher(teacher: Teacher, folder: Path) -> None:
    """Write beside a store what it takes to distil from it when the teacher is not at hand."""
    if isinstance(teacher, StoredTeacher) or (folder / TEACHER).is_file():
        return
    document = TeacherDocument(
        name=teacher.name,
        fingerprint=teacher.fingerprint,
        embed_dim=teacher.embed_dim,
        logit_scale=teacher.logit_scale,
        image_size=teacher.image_size,
        preprocess=teacher.preprocess,
    )
    if teacher.text:
        weights = {name: value.detach().cpu().contiguous() for name, value in teacher.text.weights.items()}
        write_bytes(folder / TEXT_WEIGHTS, save(weights))
        document.text_config = teacher.text.config
        document.tokenizer = write_tokenizer(teacher.text.tokenizer, folder / TOKENIZER)
        if isinstance(teacher.text.tokenizer, open_clip.SimpleTokenizer):
            (folder / TOKENIZER).unlink()
    document.save(folder / TEACHER)


def folder_name(teacher: Teacher) -> str:
    """What the teacher's part of a store is called."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", teacher.name).strip("-.")[-80:] or "teacher"
