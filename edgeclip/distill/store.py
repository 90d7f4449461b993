"""The feature store: the teacher's embeddings, computed once, in shards that survive an interruption.

``store.json`` names the fingerprint of everything the embeddings depend on. A store of another fingerprint is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from torch import Tensor

from ..console import progress_bar
from ..errors import FormatError
from ..files import Document, read_document, sha256, write_bytes

ROWS = 1024  # per shard
Embed = Callable[[Sequence[int]], np.ndarray]


class StoreDocument(Document):
    """``store.json``: what the shards hold and what they depend on."""

    FORMAT: ClassVar[str] = "edgeclip-store"

    fingerprint: dict[str, str]
    rows: Annotated[int, Field(ge=1)]
    dim: Annotated[int, Field(ge=1)]
    shards: dict[str, str] = {}  # file -> sha256


def feature_store(
    folder: Path, title: str, *, rows: int, dim: int, fingerprint: dict[str, str], embed: Embed
) -> Tensor:
    """The embeddings of all rows: float32 ``[rows, dim]``. What is missing is computed, shard by shard.

    Args:
        folder: made if it is not there.
        title: for the progress bar.
        rows: how many there are.
        dim: the width of an embedding.
        fingerprint: name -> value of everything the embeddings depend on.
        embed: row numbers -> float32 ``[n, dim]``.

    Raises:
        FormatError: the store was made of something else (the text says of what), or a shard was altered.
    """
    index = folder / "store.json"
    document = StoreDocument(fingerprint=fingerprint, rows=rows, dim=dim)
    if index.is_file():
        found = read_document(index, StoreDocument)
        changed = [k for k in fingerprint if found.fingerprint.get(k) != fingerprint[k]]
        if changed or (found.rows, found.dim) != (rows, dim):
            raise FormatError(f"{folder} was made with other {', '.join(changed) or 'rows'}: remove it to make it anew")
        document = found
    parts = []
    with progress_bar(title, rows) as bar:
        for start in range(0, rows, ROWS):
            span = range(start, min(start + ROWS, rows))
            file = folder / f"part-{start // ROWS:05d}.safetensors"
            if file.name not in document.shards:
                content = _compute(span, embed, bar.advance)
                write_bytes(file, save({"embeds": content}))
                document.shards[file.name] = sha256(file)
                document.save(index)
            else:
                content = _load(file, document.shards[file.name])
                bar.advance(len(span))
            parts.append(content)
    return torch.from_numpy(np.concatenate(parts))


def digest(values: Sequence[str]) -> str:
    """One SHA-256 over many strings, in their order."""
    return hashlib.sha256(json.dumps(list(values)).encode()).hexdigest()


def _compute(span: range, embed: Embed, advance: Callable[[float], None], batch: int = 64) -> np.ndarray:
    found = []
    for start in range(span.start, span.stop, batch):
        rows = range(start, min(start + batch, span.stop))
        found.append(np.asarray(embed(rows), np.float32))
        advance(len(rows))
    content = np.concatenate(found)
    if not np.isfinite(content).all():
        raise FormatError("the teacher gave NaN or infinity for some rows: it cannot be distilled from")
    return content


def _load(file: Path, expected: str) -> np.ndarray:
    try:
        if sha256(file) == expected:
            return load_file(file)["embeds"]
    except (OSError, SafetensorError):
        pass
    raise FormatError(f"{file} is missing or altered: remove the folder {file.parent} to make it anew")
