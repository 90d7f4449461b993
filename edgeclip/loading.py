"""One door to everything that encodes: a bundle, a run, a teacher."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import EdgeclipError, did_you_mean, require

if TYPE_CHECKING:
    from .encoder import PixelEncoder
    from .student.openclip import OpenClipEncoder

DEMO = "demo"  # the small teacher that comes with the package


def load(path_or_name: str | Path) -> PixelEncoder:
    """Open anything that encodes images and texts.

    Args:
        path_or_name: a bundle's folder (its recommended variant is opened), a run's folder, ``demo``, or a teacher as
            in :func:`load_teacher`.

    Raises:
        EdgeclipError: nothing of that name; near names are listed.
    """
    folder = Path(path_or_name)
    if (folder / "bundle.json").is_file():
        from .runtime.bundle import Bundle

        return Bundle.open(folder).encoder()
    if (folder / "run.json").is_file():
        require("torch", "distill")
        from .distill.run import Run

        return Run.open(folder).encoder()
    if folder.is_dir():
        raise EdgeclipError(
            f"{folder} holds no bundle.json and no run.json: is it a model? Then say local-dir:{folder}"
        )
    if isinstance(path_or_name, Path) or ("/" in path_or_name and ":" not in path_or_name):
        there = [p.name for p in folder.parent.iterdir() if p.is_dir()] if folder.parent.is_dir() else []
        raise EdgeclipError(f"{folder}: no such bundle or run; {did_you_mean(folder.name, there)}")
    return load_teacher(path_or_name)


def load_teacher(name: str) -> OpenClipEncoder:
    """Open a teacher: ``demo``, ``MODEL:TAG`` as open_clip lists them, ``hf-hub:…`` or ``local-dir:…``.

    Raises:
        MissingExtra: torch and open_clip are not installed.
        EdgeclipError: nothing of that name.
    """
    require("torch", "distill")
    require("open_clip", "distill")
    from .student.openclip import OpenClipEncoder

    return OpenClipEncoder.load(f"local-dir:{files('edgeclip.demo') / 'teacher'}" if name == DEMO else name)
