"""What a bundle must give back on any device: inputs and outputs that were recorded where it was exported."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..base.scratch import scratch_folder
from .preprocess import Preprocessor
from .tensors import read_tensors
from .towerjob import TowerJob
from .turns import Crashed, Worker

FLOAT_COSINE = 0.9999  # fp32 towers: only the order of additions differs between machines
TOKENS, PREPROCESSED = "tokens", "preprocessed"
UNIT = 0.02  # how far the length of an embedding may be off 1, in half precision too
SLACK = 0.01  # a rounded tower may be so much further from torch than where it was exported


@dataclass(frozen=True)
class PartCheck:
    """A part of a bundle, held against what was recorded at export."""

    part: str  # "tokenizer", "preprocessing", "text tower", "image tower int8"
    ok: bool | None  # None: it could not be checked
    detail: str
    ran: bool = True  # else the device cannot run it, which says nothing of what it would give


def probe_image() -> Image.Image:
    """An image of odd size that is the same everywhere: what preprocessing makes of it is recorded in the bundle."""
    down, across = np.mgrid[0:77, 0:131]
    return Image.fromarray(np.stack([across * 2 % 256, down * 3 % 256, (across * down) % 256], -1).astype(np.uint8))


def give_golden(
    folder: Path,
    manifest: Mapping[str, Any],
    tokenize: Any,
    jobs: Mapping[str, TowerJob],
    command: Sequence[str],
    out: Path,
) -> dict[str, str]:
    """What this device gives for the recorded inputs, each tower in a process of its own.

    Args:
        folder: the bundle.
        manifest: its manifest, as data.
        tokenize: this device's tokenizer of the bundle; None where it holds no text tower.
        jobs: a worker's job by name: ``text`` and every precision.
        command: starts a worker.
        out: a folder for ``tokens.npy``, ``preprocessed.npy`` and ``NAME.npy`` for each job.

    Returns:
        Of the towers that gave nothing, why.
    """
    golden, notes = read_tensors(folder / manifest["golden"]["file"])
    if "texts" in notes and tokenize is not None:
        np.save(out / f"{TOKENS}.npy", tokenize(json.loads(notes["texts"])))
    np.save(out / f"{PREPROCESSED}.npy", _preprocessor(manifest)([probe_image()]))
    failed = {}
    with scratch_folder() as scratch:
        for name, job in jobs.items():
            inputs = scratch / f"{name}.npy"
            np.save(inputs, golden["token_ids" if name == "text" else "pixels"])
            with Worker(command, job) as worker:
                try:
                    worker.ask("give", inputs=str(inputs), out=str(out / f"{name}.npy"))
                except Crashed as error:
                    failed[name] = str(error)
    return failed


def judge_golden(
    folder: Path, manifest: Mapping[str, Any], towers: Sequence[str], given: Path, failed: Mapping[str, str]
) -> list[PartCheck]:
    """Hold what a device gave against what was recorded: nobody's own word is taken for it.

    Args:
        folder: the bundle.
        manifest: its manifest, as data.
        towers: that were asked: ``text`` and precisions.
        given: the folder that :func:`give_golden` filled.
        failed: what it returned.

    Returns:
        One a part.
    """
    golden, notes = read_tensors(folder / manifest["golden"]["file"])
    findings = [_tokens(golden, notes, _array(given, TOKENS))] if "token_ids" in golden else []
    findings.append(_pixels(golden, manifest["preprocess"], _array(given, PREPROCESSED)))
    limits = {v["precision"]: v["fidelity"]["cosine_worst"] - SLACK for v in manifest["variants"]}
    limits |= {"text": FLOAT_COSINE, "fp32": FLOAT_COSINE}
    for name in towers:
        what = "text tower" if name == "text" else f"image tower {name}"
        embeds = _array(given, name)
        if name in failed or embeds is None:
            findings.append(PartCheck(what, False, failed.get(name, "it gave nothing"), ran=name not in failed))
            continue
        cosine, largest = _compared(golden["text_embeds" if name == "text" else "image_embeds"], embeds)
        detail = f"worst cosine {cosine:.6f} to torch (at least {limits[name]:.4f}), largest difference {largest:.2g}"
        findings.append(PartCheck(what, bool(cosine >= limits[name]), detail))
    return findings


def _array(given: Path, name: str) -> NDArray[Any] | None:
    """What a device gave under a name; None where it is nothing that could be compared."""
    try:
        array = np.load(given / f"{name}.npy", allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError):
        return None
    return array if isinstance(array, np.ndarray) and array.dtype.kind in "fiu" else None


def _compared(reference: NDArray[Any], embeds: NDArray[Any]) -> tuple[float, float]:
    """Worst cosine and largest difference of embeddings ``[N, D]``; -1 and 2 where they cannot be compared."""
    if embeds.shape != reference.shape or not np.isfinite(embeds).all():
        return -1.0, 2.0
    lengths = np.linalg.norm(embeds.astype(np.float64), axis=1)
    if not np.allclose(lengths, 1, atol=UNIT):  # a longer vector would have a larger "cosine"
        return -1.0, float(np.abs(lengths - 1).max())
    cosine = (embeds.astype(np.float64) * reference).sum(axis=1).min()
    return float(cosine), float(np.abs(embeds - reference).max())


def _preprocessor(manifest: Mapping[str, Any]) -> Preprocessor:
    return Preprocessor(SimpleNamespace(**manifest["preprocess"]))  # type: ignore[arg-type]


def _tokens(golden: Mapping[str, NDArray[Any]], notes: Mapping[str, str], ids: NDArray[Any] | None) -> PartCheck:
    if "texts" not in notes:
        return PartCheck("tokenizer", None, "not checked: an older bundle, it records no texts")
    texts, recorded = json.loads(notes["texts"]), golden["token_ids"]
    if ids is None or ids.shape != recorded.shape:
        return PartCheck("tokenizer", False, "it gave no tokens, or others in number")
    equal = (ids == recorded).all(axis=1)
    wrong = [text for text, same in zip(texts, equal, strict=True) if not same]
    return PartCheck(
        "tokenizer", not wrong, f"{len(texts)} texts" + (f"; other tokens for {wrong[0]!r}" if wrong else "")
    )


def _pixels(golden: Mapping[str, NDArray[Any]], settings: Mapping[str, Any], pixels: NDArray[Any] | None) -> PartCheck:
    if "probe_pixels" not in golden:
        return PartCheck("preprocessing", None, "not checked: an older bundle, it records no preprocessed image")
    if pixels is None or pixels.shape != golden["probe_pixels"].shape:
        return PartCheck("preprocessing", False, "it gave no pixels, or others in number")
    levels = float(np.abs(pixels - golden["probe_pixels"]).max()) * 255 * min(settings["std"])
    return PartCheck("preprocessing", bool(levels <= 1.01), f"off by {levels:.2f} of 255 at most")
