"""Does a device give what was recorded at export? Asked before anything is measured there."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def verify(
    bundle: Path,
    *,
    device: str | None = None,
    threads: int | None = None,
    provider: str | None = None,
    engine: str | None = None,
) -> dict[str, Any]:
    """Is every file whole, and does the device give what was recorded? ``verified``, and ``findings`` by part.

    ``engine``, ``provider`` and ``threads`` are as for :func:`edgeclip.measurement.measure`.

    Raises:
        EdgeclipError: no bundle, a file of it is missing or altered, or the device cannot be reached.
    """
    from ..runtime.bundle import Bundle
    from .figures import settings_of
    from .place import device_steps, open_place

    opened = Bundle.open(bundle)
    settings = settings_of(opened, engine, provider, threads, here=device is None)
    with open_place(device) as place, device_steps(f"verify on {place.name}") as tell:
        return place.verify(opened.path, **settings, on_step=tell)
