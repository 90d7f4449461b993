"""Verify a bundle, or time it, here or on a device."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def verify(bundle: Path, *, device: str | None = None, threads: int | None = None) -> dict[str, Any]:
    """Is every file whole, and does the device give what was recorded? ``verified``, and ``findings`` by part.

    Raises:
        EdgeclipError: no bundle, a file of it is missing or altered, or the device cannot be reached.
    """
    from ..device.place import device_steps, open_place
    from ..runtime.bundle import Bundle

    Bundle.open(bundle)
    with open_place(device) as place, device_steps(f"verify on {place.name}") as tell:
        return place.verify(bundle, threads=threads, on_step=tell)


def bench(
    bundle: Path,
    *,
    precisions: Sequence[str] = (),
    seconds: float = 20,
    sustained: float = 0,
    device: str | None = None,
    threads: int | None = None,
    provider: str | None = None,
) -> dict[str, Any]:
    """Latency, throughput, memory and hot spots of the bundle's variants: plain data, as the runner prints it.

    Raises:
        EdgeclipError: no bundle, no such variant, or the device cannot be reached.
    """
    from ..device.bench import Plan
    from ..device.place import device_steps, open_place
    from ..device.reference import write_reference
    from ..runtime.bundle import Bundle
    from ..runtime.engines.ort import CPU

    opened = Bundle.open(bundle)
    wanted = list(precisions) or [variant.precision for variant in opened.manifest.variants]
    encoders = {name: opened.encoder(name, threads=threads, provider=provider or CPU) for name in wanted}
    best = opened.manifest.recommended
    with tempfile.TemporaryDirectory() as scratch, open_place(device) as place:
        plan = Plan(
            towers={name: encoder.job for name, encoder in encoders.items()},
            focus=best if best in encoders else wanted[0],
            reference=write_reference(Path(scratch), threads),
            seconds=seconds,
            sustained=sustained,
        )
        with device_steps(f"measure on {place.name}") as tell:
            return place.bench(plan, Path(scratch), on_step=tell)
