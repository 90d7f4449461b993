"""A checkpoint's file: tensors and notes, with a checksum over both."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from ..files import write_bytes


def write_checkpoint(file: Path, tensors: Mapping[str, Tensor], notes: Mapping[str, str]) -> None:
    """Write both, atomically."""
    own = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    write_bytes(file, save(own, metadata={**notes, "sha256": _digest(own, notes)}))


def read_checkpoint(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read both.

    Raises:
        Exception: safetensors' own where the file is damaged, KeyError or ValueError where it is not what was written.
    """
    with safe_open(file, framework="pt") as opened:
        notes = dict(opened.metadata())
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (no mapping)
    if notes.pop("sha256") != _digest(tensors, notes):
        raise ValueError("its checksum is another")
    return tensors, notes


def _digest(tensors: Mapping[str, Tensor], notes: Mapping[str, str]) -> str:
    state = hashlib.sha256(repr(sorted(notes.items())).encode())
    for name, value in sorted(tensors.items()):
        state.update(name.encode())
        state.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return state.hexdigest()
