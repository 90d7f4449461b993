"""A checkpoint's file: tensors and notes, with a checksum over both; and the one before it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from ..base.console import say
from ..base.errors import FormatError
from ..base.files import mendable, write_bytes


def write_checkpoint(file: Path, tensors: Mapping[str, Tensor], notes: Mapping[str, str]) -> None:
    """Write both, atomically; what was there becomes the one before."""
    copies = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    content = save(copies, metadata={**notes, "sha256": _digest(copies, notes)})
    with mendable(file), suppress(FileNotFoundError):
        file.replace(before(file))
    try:
        write_bytes(file, content)
    except BaseException:  # a full disk: what was there is the last good one again
        with suppress(FileNotFoundError):
            before(file).replace(file)
        raise


def before(file: Path) -> Path:
    """Where the checkpoint before the last one lies."""
    return file.with_name(f"{file.stem}.before{file.suffix}")


def newest_checkpoint(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The last checkpoint, or the one before it where the last is missing or damaged, which is said.

    Raises:
        FormatError: both are.
    """
    for candidate in (file, before(file)):
        try:
            checkpoint = read_checkpoint(candidate)
        except Exception as error:  # safetensors raises its own, a stranger's file KeyError
            if candidate.is_file():
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                say(f"{candidate} is damaged ({reason})")
        else:
            if candidate != file:
                say(f"going on from the checkpoint before it, at step {checkpoint[1].get('step', '?')}")
            return checkpoint
    raise FormatError(f"{file}: damaged, and so is the one before it: start a new run")


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


def random_states() -> dict[str, Tensor]:
    """Of the generators of the CPU and of every GPU."""
    states = {"rng.cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states |= {f"rng.cuda.{number}": state for number, state in enumerate(torch.cuda.get_rng_state_all())}
    return states


def set_random_states(tensors: Mapping[str, Tensor]) -> None:
    """Put them back; a resume may have another number of GPUs."""
    torch.set_rng_state(tensors["rng.cpu"])
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        if f"rng.cuda.{number}" in tensors:
            torch.cuda.set_rng_state(tensors[f"rng.cuda.{number}"], number)


def _digest(tensors: Mapping[str, Tensor], notes: Mapping[str, str]) -> str:
    state = hashlib.sha256(repr(sorted(notes.items())).encode())
    for name, value in sorted(tensors.items()):
        state.update(name.encode())
        state.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return state.hexdigest()


def on_cpu(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies that safetensors can write."""
    return {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those whose name begins so, by the rest of it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
