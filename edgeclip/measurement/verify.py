"""Does a device give what was recorded at export? Asked before anything is measured there."""

from __future__ import annotations

from pathlib import Path

from .config import MeasureConfig
from .schema import Verification


def verify(
    bundle: Path,
    *,
    device: str | None = None,
    config: MeasureConfig | None = None,
) -> Verification:
    """Is every file whole, and does the device give what was recorded at export?

    ``config`` names the engine, the provider and the threads, as for :func:`edgeclip.measurement.measure`.

    Raises:
        EdgeclipError: no bundle, a file of it is missing or altered, or the device cannot be reached.
    """
    from ..runtime.bundle import Bundle
    from .figures import settings_of
    from .place import device_steps, open_place

    opened = Bundle.open(bundle)
    settings = settings_of(opened, config or MeasureConfig(), here=device is None)
    with open_place(device) as place, device_steps(f"verify on {place.name}") as tell:
        return Verification.model_validate(place.verify(opened.path, **settings, on_step=tell))
