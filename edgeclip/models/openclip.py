"""open_clip models as encoders, and their hub layout on disk: teachers and students alike."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import nullcontext
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor, nn

from ..base.decode import Picture, as_images
from ..base.errors import EdgeclipError, FormatError, did_you_mean
from ..base.files import refuse_stub, write_bytes, write_json
from ..encoder import as_texts
from ..runtime.manifest import Preprocess, TokenizerRules
from ..runtime.preprocess import Preprocessor
from .fetch import cached, fetch_model, fetch_tag, quiet
from .oddtexts import odd_texts
from .tokenizers import check_tokenizer, folder_tokenizer, keep_tokenizer, open_clips, write_tokenizer

# OpenMP threads do not survive a fork, and a child that asks for them waits for ever: it computes on one.
if hasattr(os, "register_at_fork"):  # not on Windows, which forks nothing
    os.register_at_fork(after_in_child=partial(torch.set_num_threads, 1))

LOCAL = "local-dir:"
WEIGHTS = "open_clip_model.safetensors"
CONFIG = "open_clip_config.json"
BATCH = 64  # images at a time through torch on a CPU: larger batches fall out of the cache
GPU_BATCH = 256
OURS = ("exif", "ground")  # settings of preprocessing that open_clip passes over


class OpenClipEncoder:
    """A :class:`~edgeclip.encoder.PixelEncoder` around an open_clip model in evaluation mode."""

    def __init__(
        self, model: Any, config: dict[str, Any], preprocess: dict[str, Any], tokenizer: Any, name: str = ""
    ) -> None:
        """``config`` is open_clip's model_cfg, ``preprocess`` its preprocess_cfg, ``tokenizer`` texts -> ids.

        ``name`` is what open_clip knows the tokenizer by; empty for a model that it has not got.

        Raises:
            EdgeclipError: a setting of its preprocessing is none.
        """
        self.name = name
        self.model = model.eval()
        self.config = config
        self.preprocess_cfg = _preprocess(preprocess, name or "the model").model_dump(exclude_none=True)
        self.tokenizer = tokenizer
        self.embed_dim = int(config["embed_dim"])
        self.image_size = int(self.preprocess_cfg["size"])
        self.runtime = f"torch {torch.__version__.partition('+')[0]}"
        self._pixels = Preprocessor(Preprocess(**self.preprocess_cfg))

    @classmethod
    def load(cls, name: str) -> OpenClipEncoder:
        """Open ``MODEL:TAG`` of open_clip's list, ``hf-hub:ORG/REPO`` or ``local-dir:FOLDER`` (safetensors only).

        Raises:
            EdgeclipError: no such model, tag or folder, or its weights cannot be fetched.
        """
        if name.startswith(LOCAL):
            return cls._load_folder(Path(name.removeprefix(LOCAL)))
        if name.startswith("hf-hub:"):
            fetch_model(name.removeprefix("hf-hub:"))
            model = _create(name, None)
            return cls(model, _config_of(name), model.visual.preprocess_cfg, open_clips(name), name)
        architecture, _, tag = name.partition(":")
        _check_known(architecture, tag)
        fetch_tag(architecture, tag)
        quick = needs_quick_gelu(architecture, tag)
        model = _create(architecture, tag, force_quick_gelu=quick)
        config = open_clip.get_model_config(architecture) | ({"quick_gelu": True} if quick else {})
        return cls(model, config, model.visual.preprocess_cfg, open_clips(architecture), architecture)

    @classmethod
    def _load_folder(cls, folder: Path) -> OpenClipEncoder:
        if not (folder / CONFIG).is_file():
            raise EdgeclipError(f"{folder}: no {CONFIG} there: local-dir: takes a folder in open_clip's hub layout")
        for file in folder.glob("*.safetensors"):
            refuse_stub(file)
        if not list(folder.glob("*.safetensors")):
            raise EdgeclipError(f"{folder}: no .safetensors there; other weight files can run code and are not read")
        if not open_clip.factory._find_checkpoint_in_dir(folder).endswith(".safetensors"):
            raise EdgeclipError(f"{folder}: open_clip would read a file that can run code: call the other {WEIGHTS}")
        try:
            content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            config = content["model_cfg"]
            dict(config["text_cfg"]), dict(config["vision_cfg"]), int(config["embed_dim"])
            dict(content.get("preprocess_cfg", {}))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise FormatError(f"{folder / CONFIG}: truncated, or no config of a CLIP of open_clip's") from error
        model = _create(f"{LOCAL}{folder}", None)
        tokenizer = folder_tokenizer(folder, config["text_cfg"])
        ours = {name: value for name, value in content.get("preprocess_cfg", {}).items() if name in OURS}
        return cls(model, config, {**model.visual.preprocess_cfg, **ours}, tokenizer, f"{LOCAL}{folder}")

    def seeing(self, exif: str | None = None, ground: str | None = None) -> OpenClipEncoder:
        """The same model with another setting of these: see :class:`~edgeclip.runtime.manifest.Preprocess`."""
        changes = {name: value for name, value in (("exif", exif), ("ground", ground)) if value}
        return OpenClipEncoder(self.model, self.config, self.preprocess_cfg | changes, self.tokenizer, self.name)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @property
    def image_bytes(self) -> int:
        """The image tower's parameters in fp32, bytes."""
        return 4 * sum(p.numel() for p in self.model.visual.parameters())

    @property
    def text_bytes(self) -> int:
        """Those of all else, bytes."""
        return 4 * sum(p.numel() for p in self.model.parameters()) - self.image_bytes

    @property
    def logit_scale(self) -> float:
        """What cosine similarities are multiplied by."""
        return float(self.model.logit_scale.detach().exp())

    @property
    def logit_bias(self) -> float | None:
        """What is added to scaled similarities before a sigmoid (SigLIP); None where probabilities are a softmax."""
        bias = getattr(self.model, "logit_bias", None)
        return None if bias is None else float(bias.detach())

    @property
    def context_length(self) -> int:
        """Tokens a text is cut or padded to."""
        return int(self.config["text_cfg"].get("context_length", open_clip.factory.DEFAULT_CONTEXT_LENGTH))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over all weights, the config, the preprocessing, and what the tokenizer makes of odd texts."""
        settings = [self.config, self.preprocess_cfg, np.asarray(self.tokenizer(odd_texts())).tolist()]
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        for name, value in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def preprocess(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """float32 ``[N, 3, S, S]``: the device's own preprocessing, equal to open_clip's transform."""
        return self._pixels(images)

    def encode_pixels(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 ``[N, 3, S, S]`` -> float32 ``[N, embed_dim]``, L2-normalised."""
        return self.encode_tensor(torch.from_numpy(pixels))

    @torch.inference_mode()
    def encode_tensor(self, pixels: Tensor) -> NDArray[np.float32]:
        """As :meth:`encode_pixels`, of pixels that may lie on any device already."""
        parts = pixels.split(BATCH if self.device.type == "cpu" else GPU_BATCH)
        embeds = [self.model.encode_image(part.to(self.device), normalize=True).float().cpu() for part in parts]
        return torch.cat(embeds).numpy() if embeds else np.empty((0, self.embed_dim), np.float32)

    def encode_image(self, images: Picture | Sequence[Picture]) -> NDArray[np.float32]:
        """Embed pictures, or files, or one alone: float32 ``[N, embed_dim]``, L2-normalised."""
        return self.encode_pixels(self.preprocess(as_images(images)))

    @torch.inference_mode()
    def encode_text(self, texts: str | Sequence[str]) -> NDArray[np.float32]:
        """Embed texts, or one alone: float32 ``[N, embed_dim]``, L2-normalised."""
        texts = as_texts(texts)
        parts = (self.tokenizer(texts[i : i + GPU_BATCH]) for i in range(0, len(texts), GPU_BATCH))
        embeds = [
            self.model.encode_text(torch.as_tensor(ids).to(self.device), normalize=True).float().cpu() for ids in parts
        ]
        return torch.cat(embeds).numpy() if embeds else np.empty((0, self.embed_dim), np.float32)

    def write_tokenizer(self, path: Path) -> TokenizerRules:
        """Write the tokenizer as ``tokenizer.json``; how the runtime drives it.

        Raises:
            EdgeclipError: it has no such form, or that gives other ids than open_clip's own tokenizer.
        """
        self.check_tokenizer()
        return write_tokenizer(self.tokenizer, path)

    def check_tokenizer(self) -> None:
        """Hold what a bundle will carry against open_clip's own tokenizer of this model, on odd strings.

        Raises:
            EdgeclipError: they differ, or it cannot be carried.
        """
        check_tokenizer(self.tokenizer, open_clips(self.name) if self.name else self.tokenizer, self.name)


def save_hub_layout(
    model: nn.Module, config: dict[str, Any], preprocess: dict[str, Any], folder: Path, tokenizer: Any = None
) -> None:
    """Write what ``open_clip.create_model_and_transforms("local-dir:FOLDER")`` reads.

    Args:
        model: its state dict is written as safetensors, in the dtype it has.
        config: open_clip's model_cfg.
        preprocess: open_clip's preprocess_cfg.
        folder: made if it is not there.
        tokenizer: the model's, as :func:`~edgeclip.models.tokenizers.keep_tokenizer` takes it; None for CLIP's own.
    """
    weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    write_bytes(folder / WEIGHTS, save(weights, metadata={"format": "pt"}))
    if tokenizer is not None:
        keep_tokenizer(tokenizer, folder)
    write_json(folder / CONFIG, {"model_cfg": config, "preprocess_cfg": preprocess})


def needs_quick_gelu(architecture: str, tag: str) -> bool:
    """Whether weights were trained with QuickGELU: open_clip only warns where its config has another activation."""
    configs = open_clip.get_pretrained_cfg(architecture, tag), open_clip.get_model_config(architecture)
    return any(bool((config or {}).get("quick_gelu")) for config in configs)


def _create(name: str, tag: str | None, **settings: Any) -> Any:
    """open_clip's own constructor, its log kept quiet, its failures made mendable."""
    try:
        with quiet(), nullcontext() if name.startswith(LOCAL) else cached():
            return open_clip.create_model(name, pretrained=tag, **settings)
    except SafetensorError as error:
        raise EdgeclipError(f"{name}: its weights are damaged or truncated ({error}): fetch them again") from error
    except (RuntimeError, ValueError, OSError, KeyError, TypeError, AttributeError) as error:
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise EdgeclipError(f"{name}{':' + tag if tag else ''} cannot be loaded: {first}") from error


def _check_known(architecture: str, tag: str) -> None:
    known = open_clip.list_models()
    if architecture not in known:
        near = did_you_mean(architecture, known, listed_by="edgeclip teachers")
        raise EdgeclipError(f"unknown teacher {architecture!r}; {near}")
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if tag not in tags:
        wanted = f"has no weights {tag!r}" if tag else "needs a tag, as in MODEL:TAG"
        raise EdgeclipError(f"teacher {architecture} {wanted}; {did_you_mean(tag, tags)}")


def _config_of(name: str) -> dict[str, Any]:
    from open_clip.factory import _get_hf_config

    return dict(_get_hf_config(name.removeprefix("hf-hub:"))["model_cfg"])


def _preprocess(settings: dict[str, Any], model: str) -> Preprocess:
    size = settings["size"]
    if isinstance(size, (tuple, list)):
        if len(set(size)) != 1:
            raise EdgeclipError(f"{model} takes {size} px images: only square inputs are supported")
        size = size[0]
    known = {name: settings[name] for name in Preprocess.model_fields if name in settings and name != "size"}
    try:
        return Preprocess(size=size, **known)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise EdgeclipError(f"{model}: its preprocessing cannot be so: {faults}") from error
