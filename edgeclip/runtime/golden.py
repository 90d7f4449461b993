"""What a bundle must give back on any device: inputs and outputs that were recorded where it was exported."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .preprocess import Preprocessor
from .tensors import read_tensors
from .turns import Crashed, Worker

FLOAT_COSINE = 0.9999  # fp32 towers: only the order of additions differs between machines
SLACK = 0.01  # a rounded tower may be so much further from torch than where it was exported


def probe_image() -> Image.Image:
    """An image of odd size that is the same everywhere: what preprocessing makes of it is recorded in the bundle."""
    down, across = np.mgrid[0:77, 0:131]
    return Image.fromarray(np.stack([across * 2 % 256, down * 3 % 256, (across * down) % 256], -1).astype(np.uint8))


def check_golden(
    folder: Path,
    manifest: Mapping[str, Any],
    tokenize: Any,
    jobs: Mapping[str, Mapping[str, Any]],
    command: Sequence[str],
) -> list[dict[str, Any]]:
    """Hold this device's answers against the recorded ones, each tower in a process of its own.

    Args:
        folder: the bundle.
        manifest: its manifest, as data.
        tokenize: this device's tokenizer of the bundle.
        jobs: a worker's job by name: ``text`` and every precision.
        command: starts a worker.

    Returns:
        One finding a part: ``part``, ``ok`` (None: it could not be checked), ``detail``.
    """
    golden, notes = read_tensors(folder / manifest["golden"]["file"])
    findings = [_tokens(golden, notes, tokenize)] if "token_ids" in golden else []
    findings.append(_pixels(golden, manifest["preprocess"]))
    limits = {v["precision"]: v["fidelity"]["cosine_worst"] - SLACK for v in manifest["variants"]}
    limits |= {"text": FLOAT_COSINE, "fp32": FLOAT_COSINE}
    with tempfile.TemporaryDirectory() as scratch:
        files = {name: str(Path(scratch) / f"{name}.npy") for name in golden}
        for name, tensor in golden.items():
            np.save(files[name], tensor)
        for name, job in jobs.items():
            pair = ("token_ids", "text_embeds") if name == "text" else ("pixels", "image_embeds")
            what = "text tower" if name == "text" else f"image tower {name}"
            with Worker(command, job) as worker:
                try:
                    found = worker.ask("compare", inputs=files[pair[0]], expected=files[pair[1]])
                except Crashed as error:
                    findings.append(_finding(what, False, str(error)))
                    continue
            off = f"largest difference {found['largest_difference']:.2g}"
            detail = f"worst cosine {found['cosine']:.6f} to torch (at least {limits[name]:.4f}), {off}"
            findings.append(_finding(what, found["cosine"] >= limits[name], detail))
    return findings


def _tokens(golden: Mapping[str, NDArray[Any]], notes: Mapping[str, str], tokenize: Any) -> dict[str, Any]:
    if "texts" not in notes:
        return _finding("tokenizer", None, "not checked: an older bundle, it records no texts")
    texts = json.loads(notes["texts"])
    equal = (tokenize(texts) == golden["token_ids"]).all(axis=1)
    wrong = [text for text, same in zip(texts, equal, strict=True) if not same]
    return _finding(
        "tokenizer", not wrong, f"{len(texts)} texts" + (f"; other tokens for {wrong[0]!r}" if wrong else "")
    )


def _pixels(golden: Mapping[str, NDArray[Any]], settings: Mapping[str, Any]) -> dict[str, Any]:
    if "probe_pixels" not in golden:
        return _finding("preprocessing", None, "not checked: an older bundle, it records no preprocessed image")
    found = Preprocessor(SimpleNamespace(**settings))([probe_image()])  # type: ignore[arg-type]
    levels = float(np.abs(found - golden["probe_pixels"]).max()) * 255 * min(settings["std"])
    return _finding("preprocessing", levels <= 1.01, f"off by {levels:.2f} of 255 at most")


def _finding(part: str, ok: bool | None, detail: str) -> dict[str, Any]:
    return {"part": part, "ok": None if ok is None else bool(ok), "detail": detail}
