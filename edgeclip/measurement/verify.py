"""Does a device give what was recorded at export? Asked before anything is measured there."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from .config import MeasureConfig

if TYPE_CHECKING:
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
    from .devices import device_steps, open_device
    from .figures import options_of
    from .job import verified
    from .schema import Finding, Verification

    opened = Bundle.open(bundle)
    options = options_of(opened, config or MeasureConfig(), here=device is None)
    with open_device(device) as machine, device_steps(f"verify on {machine.name}") as tell:
        checks = machine.verify(opened.path, options, on_step=tell)
    return Verification(verified=verified(checks), findings=[Finding(**asdict(check)) for check in checks])
