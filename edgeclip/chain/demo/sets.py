"""Labelled emoji that come with the package, or that it makes when first asked: the suite of the demo's own task."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ...base.console import say
from ...base.errors import EdgeclipError, MissingExtra

if TYPE_CHECKING:
    from ...encoder import Encoder
    from ...images.labelled import Dataset

DEFAULT_SUITE = "openmoji"
NOTO = ("noto-names", "noto-categories")


def built_in(name: str) -> tuple[str, Dataset] | None:
    """Where a set that the package itself can make lies, and the set; None for others, and where an extra is missing.

    Raises:
        EdgeclipError: the environment names a file that is not there.
    """
    from ...evaluation.noto import open_noto_categories, open_noto_names
    from ...images.datasets import open_dataset

    if name not in (DEFAULT_SUITE, *NOTO):
        return None
    file = noto_file() if name in NOTO else None
    if name in NOTO and file is None:
        return None
    try:
        openmoji = open_dataset(_openmoji())
    except MissingExtra:
        return None
    if file is None:
        return str(_openmoji()), openmoji
    dataset = open_noto_names(file, openmoji) if name == NOTO[0] else open_noto_categories(file, openmoji.templates)
    return str(file), dataset


def shift(encoders: Mapping[str, Encoder], heldout: Path, file: Path | None = None) -> dict[str, dict[str, float]]:
    """The demo's emoji by another hand: accuracy of each encoder, by name among the same names, and by category.

    Args:
        encoders: what to measure, by name.
        heldout: the demo's held-out emoji; their names and templates are used.
        file: the tar of Noto's drawings; what ``EDGECLIP_NOTO`` names where None.

    Returns:
        encoder -> ``names`` and ``categories``: top-1 on Noto's drawings, 0..1; ``names_before``: top-1 on the drawings
        of the same emoji in ``heldout``, among the same names; ``names_images`` and ``categories_images``: counts.
        Empty, and said, where there is no such file.

    Raises:
        FormatError: the file is not as it should be.
    """
    import numpy as np

    from ...evaluation import evaluate
    from ...evaluation.noto import ENVIRONMENT, open_noto_categories, open_noto_names
    from ...images.datasets import open_dataset

    archive = file or noto_file()
    if archive is None:
        say(f"no shift is measured: {ENVIRONMENT} names no tar of Noto emoji")
        return {}
    openmoji = open_dataset(heldout)
    names, categories = open_noto_names(archive, openmoji), open_noto_categories(archive, openmoji.templates)
    rows: dict[str, dict[str, float]] = {}
    for name, encoder in encoders.items():
        before = evaluate(encoder, openmoji, title=f"before the shift, {name}")
        shifted = evaluate(encoder, names, title=f"shift, names, {name}")
        general = evaluate(encoder, categories, title=f"shift, categories, {name}")
        rows[name] = {
            "names_before": float(before.right[np.isin(before.labels, shifted.labels)].mean()),
            "names": shifted.top1,
            "names_images": len(shifted.labels),
            "categories": general.top1,
            "categories_images": len(general.labels),
        }
    return rows


def _openmoji() -> Path:
    """The demo's held-out emoji, written once into the cache."""
    from ... import __version__
    from ...base.folders import cache_folder
    from .openmoji import write_dataset

    folder = cache_folder() / f"openmoji-{__version__}"
    if not (folder / "dataset.json").is_file():
        write_dataset(folder)
    return folder / "heldout"


def noto_file() -> Path | None:
    """The tar of Noto's drawings that the environment names."""
    from ...evaluation.noto import ENVIRONMENT

    named = os.environ.get(ENVIRONMENT)
    if named and not Path(named).is_file():
        raise EdgeclipError(f"{ENVIRONMENT} names {named}, which is no file")
    return Path(named) if named else None
