"""Verify a bundle, or time it, here or on a device; and open reports to be compared."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import EdgeclipError

if TYPE_CHECKING:
    from ..device.schema import Profile
    from ..report.schema import Report


def verify(bundle: Path, *, device: str | None = None, threads: int | None = None) -> dict[str, Any]:
    """Is every file whole, and does the device give what was recorded? ``verified``, and ``findings`` by part.

    Raises:
        EdgeclipError: no bundle, a file of it is missing or altered, or the device cannot be reached.
    """
    from ..device.place import open_place
    from ..measure import device_steps
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
    from ..device.place import open_place
    from ..device.reference import write_reference
    from ..measure import device_steps
    from ..runtime.bundle import Bundle
    from ..runtime.session import CPU

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


def profile_there(
    name: str,
    out: Path,
    device: str,
    *,
    seconds: float,
    threads: int | None,
    precisions: Sequence[str],
    families: Sequence[str],
) -> Profile:
    """Measure a device from here: ``edgeclip profile`` runs there, its profile is brought to ``out``.

    Raises:
        EdgeclipError: the device cannot be reached, has no edgeclip, or the command failed there.
    """
    from ..device.remote import open_remote
    from ..device.store import load_profile
    from ..measure import device_steps

    words = ["profile", name, "--out", "profile.toml", "--seconds", f"{seconds:g}"]
    words += ["--threads", str(threads)] if threads else []
    words += [word for precision in precisions for word in ("--precision", precision)]
    words += [word for family in families for word in ("--family", family)]
    with open_remote(device) as place, device_steps(f"profile {place.name}") as tell:
        place.edgeclip(words, "profile.toml", out, on_step=tell)
    return load_profile(out)


def read_reports(paths: Sequence[Path]) -> list[Report]:
    """Reports by file or folder.

    Raises:
        EdgeclipError: fewer than two, one is missing, or has faults.
    """
    from ..files import read_document
    from ..report.schema import Report

    if len(paths) < 2:
        raise EdgeclipError("one report alone compares with nothing: name two or more, the first is the baseline")
    return [read_document(path / "report.json" if path.is_dir() else path, Report) for path in paths]
