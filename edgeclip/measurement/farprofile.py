"""Measure a device from here: its own edgeclip does it, and the profile is brought back."""

from __future__ import annotations

from collections.abc import Sequence

from ..base.scratch import scratch_folder
from ..profiling.schema import Profile
from ..profiling.store import load_profile
from ..runtime.turns import OPEN_SECONDS
from .devices import device_steps
from .remote import open_remote

SLOWEST = 10  # times as long as it was given: a slow device measures what a cost model needs at least


def profile_there(
    name: str,
    device: str,
    *,
    seconds: float,
    engine: str | None,
    provider: str | None,
    threads: int | None,
    precisions: Sequence[str],
    families: Sequence[str],
) -> Profile:
    """Measure a device from here: ``edgeclip profile`` runs there, and its profile is brought here.

    Raises:
        EdgeclipError: the device cannot be reached, has no edgeclip, or the command failed there.
    """
    words = ["profile", name, "--out", "profile.toml", "--seconds", f"{seconds:g}"]
    words += ["--threads", str(threads)] if threads else []
    words += ["--engine", engine] if engine else []
    words += ["--provider", provider] if provider else []
    words += [word for precision in precisions for word in ("--precision", precision)]
    words += [word for family in families for word in ("--family", family)]
    with open_remote(device) as machine, device_steps(f"profile {machine.name}") as tell, scratch_folder() as scratch:
        file, within = scratch / "profile.toml", SLOWEST * seconds + OPEN_SECONDS
        machine.edgeclip(words, "profile.toml", file, within=within, on_step=tell)
        return load_profile(file)
