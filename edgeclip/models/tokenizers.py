"""open_clip's tokenizers as a ``tokenizer.json`` and its rules, held against open_clip's own, id by id."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from open_clip import tokenizer as stock
from torch import Tensor

from ..base.errors import EdgeclipError, FormatError
from ..base.files import write_json, write_text
from ..base.scratch import scratch_folder
from ..runtime.manifest import TokenizerRules
from ..runtime.tokenizer import Tokenizer
from .oddtexts import odd_texts
from .tokenizer_json import write_clip_tokenizer

TOKENIZER, SETTINGS = "tokenizer.json", "tokenizer_config.json"
PAD_LEFT = {"GemmaTokenizer", "GemmaTokenizerFast"}  # transformers' classes that do so unless told otherwise
KNOWN_KWARGS = {"clean", "strip_sep_token"}
CLEANERS = {
    "lower": stock._clean_lower,
    "whitespace": stock._clean_whitespace,
    "canonicalize": stock._clean_canonicalize,
}
Encode = Callable[[list[str]], Any]  # texts -> ids [N, context]


class FileTokenizer:
    """A ``tokenizer.json`` driven by its rules through our own runtime: transformers is not needed."""

    def __init__(self, file: Path, rules: TokenizerRules) -> None:
        self.file, self.rules = file, rules
        self._tokenize = Tokenizer(file, rules)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """int64 ``[N, context_length]``."""
        return torch.from_numpy(self._tokenize(texts))


def folder_tokenizer(folder: Path, text_cfg: dict[str, Any]) -> Any:
    """The tokenizer of a model in open_clip's hub layout: its file by rules where these say all, else open_clip's."""
    file, kwargs = folder / TOKENIZER, text_cfg.get("tokenizer_kwargs", {})
    # Without a name in its config, open_clip takes its own tokenizer, whatever lies in the folder.
    if not text_cfg.get("hf_tokenizer_name") or not file.is_file() or set(kwargs) - KNOWN_KWARGS:
        return open_clips(f"local-dir:{folder}")
    if text_cfg.get("tokenizer_mode"):
        return open_clips(f"local-dir:{folder}")
    named, content = _special(folder), _json(file)
    settings = _json(folder / SETTINGS) if (folder / SETTINGS).is_file() else {}
    side: Any = settings.get("padding_side") or ("left" if settings.get("tokenizer_class") in PAD_LEFT else "right")
    ids = {token["content"]: int(token["id"]) for token in content.get("added_tokens", ())}
    vocab = content.get("model", {}).get("vocab", {})
    ids = {**(vocab if isinstance(vocab, dict) else {piece[0]: n for n, piece in enumerate(vocab)}), **ids}
    pad = ids.get(named.get("pad_token", ""), (content.get("padding") or {}).get("pad_id", 0))
    separator = ids.get(named.get("sep_token", "")) if kwargs.get("strip_sep_token") else None
    rules = TokenizerRules(
        context_length=text_cfg.get("context_length", open_clip.factory.DEFAULT_CONTEXT_LENGTH),
        pad_id=pad,
        pad_side=side,
        clean=kwargs.get("clean", "whitespace"),
        zeroed_id=separator,
    )
    return FileTokenizer(file, rules)


def write_tokenizer(tokenizer: Any, path: Path) -> TokenizerRules:
    """Write a tokenizer as ``tokenizer.json``; how it is driven.

    Raises:
        EdgeclipError: it does what no rule of ours does (random masking), or has no such file.
    """
    if isinstance(tokenizer, FileTokenizer):
        shutil.copyfile(tokenizer.file, path)
        return tokenizer.rules
    context, clean = int(tokenizer.context_length), "canonicalize"
    if not isinstance(tokenizer, stock.SigLipTokenizer):
        clean = next(name for name, cleaner in CLEANERS.items() if cleaner is tokenizer.clean_fn)
    if isinstance(tokenizer, open_clip.SimpleTokenizer):
        if tokenizer.reduction_fn is not None:
            raise EdgeclipError("its tokenizer leaves words out (reduction_mask): a model for that cannot be distilled")
        write_clip_tokenizer(tokenizer, path, lower=clean != "whitespace")
        return TokenizerRules(context_length=context, pad_id=0, clean=clean)  # type: ignore[arg-type]
    inner = tokenizer.tokenizer
    fast = getattr(inner, "backend_tokenizer", None)
    if fast is None:
        raise EdgeclipError(f"{type(inner).__name__} has no tokenizer.json form: its model cannot be exported")
    write_text(path, fast.to_str())
    clips = None
    if getattr(tokenizer, "tokenizer_mode", "") == "clips":
        clips = (inner.bos_token_id, inner.eos_token_id, inner.cls_token_id)
    separator = inner.sep_token_id if getattr(tokenizer, "strip_sep_token", False) else None
    settings: dict[str, Any] = {"clean": clean, "zeroed_id": separator, "clips": clips}
    settings["pad_side"] = inner.padding_side
    return TokenizerRules(context_length=context, pad_id=int(inner.pad_token_id or 0), **settings)


def keep_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Put a tokenizer into a model's folder, so that open_clip's ``get_tokenizer("local-dir:…")`` finds it there.

    open_clip's own needs no file.
    """
    if isinstance(tokenizer, open_clip.SimpleTokenizer):
        return
    folder.mkdir(parents=True, exist_ok=True)
    rules = write_tokenizer(tokenizer, folder / TOKENIZER)
    pieces = Tokenizer(folder / TOKENIZER, rules)
    names: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": pieces.piece(rules.pad_id)}
    names["padding_side"] = rules.pad_side
    if rules.zeroed_id is not None:
        names["sep_token"] = pieces.piece(rules.zeroed_id)
    if rules.clips:
        names |= dict(zip(("bos_token", "eos_token", "cls_token"), map(pieces.piece, rules.clips), strict=True))
    write_json(folder / SETTINGS, names)


def check_tokenizer(tokenizer: Any, theirs: Encode, who: str) -> None:
    """Hold what a bundle will carry of a tokenizer against open_clip's own, on odd strings.

    Raises:
        EdgeclipError: they give other ids for one of them, or it cannot be carried.
    """
    with scratch_folder() as folder:
        file = Path(folder) / TOKENIZER
        ours, texts = Tokenizer(file, write_tokenizer(tokenizer, file)), odd_texts()
        ids, other = ours(texts), np.asarray(theirs(texts))
        if ids.shape != other.shape:
            raise EdgeclipError(f"{who}: its tokenizer gives ids of shape {other.shape}, ours {ids.shape}")
        wrong = [text for text, same in zip(texts, (ids == other).all(axis=1), strict=True) if not same]
    if wrong:
        raise EdgeclipError(
            f"{who}: our form of its tokenizer gives other ids than open_clip's for {len(wrong)} of {len(texts)} "
            f"odd texts, {wrong[0][:40]!r} for one: it cannot be distilled from or exported"
        )


def open_clips(name: str) -> Any:
    """open_clip's own tokenizer of a model.

    Raises:
        EdgeclipError: it cannot be loaded.
    """
    try:
        return open_clip.get_tokenizer(name)
    except ImportError as error:
        raise EdgeclipError(f"{name}: its tokenizer needs transformers: pip install 'edgeclip[distill]'") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise EdgeclipError(f"{name}: its tokenizer cannot be loaded: {first}") from error


def _special(folder: Path) -> dict[str, str]:
    """Names of the special tokens, as ``tokenizer_config.json`` and ``special_tokens_map.json`` have them."""
    special: dict[str, str] = {}
    for name in ("special_tokens_map.json", SETTINGS):
        if (folder / name).is_file():
            for key, value in _json(folder / name).items():
                if key.endswith("_token") and isinstance(value, (str, dict)):
                    special[key] = value if isinstance(value, str) else str(value.get("content", ""))
    return special


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"{file}: truncated or not JSON ({error})") from error
    if not isinstance(content, dict):
        raise FormatError(f"{file}: not a JSON object")
    return content
