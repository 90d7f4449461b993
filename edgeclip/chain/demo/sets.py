"""Labelled emoji that the package makes when first asked: the suite of the demo's own task."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...base.errors import MissingExtra

if TYPE_CHECKING:
    from ...images.labelled import Dataset

DEFAULT_SUITE = "openmoji"


def built_in(name: str) -> tuple[str, Dataset] | None:
    """Where a set that the package can make lies, and the set; None for others, and where an extra is missing."""
    from ...images.datasets import open_dataset

    if name != DEFAULT_SUITE:
        return None
    try:
        return str(_openmoji()), open_dataset(_openmoji())
    except MissingExtra:
        return None


def _openmoji() -> Path:
    """The demo's held-out emoji, written once into the cache."""
    from ... import __version__
    from ...base.folders import cache_folder
    from .openmoji import write_dataset

    folder = cache_folder() / f"openmoji-{__version__}"
    if not (folder / "dataset.json").is_file():
        write_dataset(folder)
    return folder / "heldout"
