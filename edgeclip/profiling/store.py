"""Profiles that come with the package, and profiles on disk."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from ..base.documents import read_document
from ..base.errors import EdgeclipError, did_you_mean
from .schema import Profile


def load_profile(name_or_path: str | Path) -> Profile:
    """A shipped profile by name, or any profile by its path (``.toml`` or ``.json``).

    Raises:
        EdgeclipError: no shipped profile has that name (near ones are listed), or the file is missing.
        FormatError: the file is no valid profile; every fault is named.
    """
    path = Path(name_or_path)
    if path.suffix in (".toml", ".json") or len(path.parts) > 1 or path.is_file():
        return _opened(path, str(path))
    shipped = _shipped()
    if path.name not in shipped:
        raise EdgeclipError(f"no profile is called {str(name_or_path)!r}; {did_you_mean(path.name, shipped)}")
    return _opened(shipped[path.name], path.name)


def list_profiles() -> list[Profile]:
    """The profiles that come with the package, by name."""
    return [_opened(path, name) for name, path in sorted(_shipped().items())]


def _opened(path: Path, name: str) -> Profile:
    profile = read_document(path, Profile)
    profile._opened_as = name
    return profile


def _shipped() -> dict[str, Path]:
    folder = Path(str(files("edgeclip.profiles")))
    return {path.stem: path for path in folder.glob("*.toml")}
