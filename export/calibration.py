"""The images that set int8's ranges: a fixed choice, recorded, so that the same bundle can be made again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ..console import say
from ..errors import EdgeclipError

COUNT = 128
FEWEST = 8
Preprocess = Callable[[Sequence[Image.Image]], NDArray[np.float32]]


def calibration_pixels(
    files: Sequence[Path], preprocess: Preprocess, count: int = COUNT
) -> tuple[NDArray[np.float32], dict[str, object]]:
    """Up to ``count`` images, chosen by the hash of their names: float32 ``[N, 3, S, S]``, and what was chosen.

    Raises:
        EdgeclipError: fewer than 8 of them can be decoded.
    """
    ordered = sorted(files, key=lambda file: hashlib.sha256(file.name.encode()).digest())
    images: list[NDArray[np.float32]] = []
    names, broken = [], 0
    for file in ordered:
        if len(images) == count:
            break
        try:
            with Image.open(file) as image:
                images.append(preprocess([image])[0])
            names.append(file.name)
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError, SyntaxError):
            broken += 1
    if broken:
        say(f"calibration: {broken} unreadable image(s) passed over")
    if len(images) < FEWEST:
        raise EdgeclipError(f"{len(images)} calibration image(s): at least {FEWEST} are needed, {count} are better")
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    return np.stack(images), {"images": len(images), "names_sha256": digest, "method": "min-max"}
