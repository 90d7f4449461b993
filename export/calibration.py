"""The images that set int8's ranges and judge it: a fixed choice, recorded, so that it can be made again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..base.decode import UnreadableImage, read_image
from ..base.errors import EdgeclipError
from ..base.pictures import refuse_too_many_broken, say_skipped

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
    ordered = sorted(files, key=lambda file: (hashlib.sha256(os.fsencode(file.name)).digest(), str(file)))
    images: list[NDArray[np.float32]] = []
    names, content = [], hashlib.sha256()
    broken: list[str] = []
    for file in ordered:
        if len(images) == count:
            break
        try:
            images.append(preprocess([read_image(file)])[0])
            names.append(file.name)
            content.update(images[-1].tobytes())
        except UnreadableImage:
            broken.append(file.name)
            refuse_too_many_broken(broken, len(ordered), "calibration")
    say_skipped(broken, "calibration")
    if len(images) < FEWEST:
        raise EdgeclipError(
            f"{len(images)} calibration image(s): at least {FEWEST} are needed, {count} are better: "
            "give --calibration a folder with more"
        )
    return np.stack(images), {"images": len(images), "keys": names, "pixels_sha256": content.hexdigest()}
