"""What a device can afford, and what is installed on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..device.doctor import DoctorReport, examine
from ..profiling.schema import Profile
from ..profiling.store import list_profiles, load_profile
from ..runtime.cores import usable_cores
from ..runtime.target import Precision

__all__ = ["doctor", "list_profiles", "load_profile", "profile", "usable_cores"]


def profile(
    name: str,
    *,
    device: str | None = None,
    seconds: float = 60,
    engine: str | None = None,
    provider: str | None = None,
    threads: int | None = None,
    precisions: Sequence[Precision] = (),
    families: Sequence[str] = (),
) -> Profile:
    """Measure image towers on this machine, or on another that has edgeclip. ``.save(path)`` writes the profile.

    Args:
        name: of the profile: letters, digits, dot, dash, underscore.
        device: ``ssh://user@host`` or ``adb://SERIAL``; this machine when None.
        seconds: time for measuring. A slow device takes longer where a cost model needs it.
        engine: what executes the graphs; when None, that of an accelerator that is here, else onnxruntime.
        provider: of the engine; its usual one when None.
        threads: CPU threads; all usable cores when None.
        precisions: those to measure; all that the engine has kernels for when empty.
        families: of towers, those to measure; all when empty.

    Raises:
        EdgeclipError: an argument is unfit, the device cannot be reached, or it was too restless to predict anything.
    """
    from ..measurement.farprofile import profile_there
    from ..profiling.probe import profile as profile_here

    settings: dict[str, Any] = {"seconds": seconds, "engine": engine, "provider": provider, "threads": threads}
    settings |= {"precisions": precisions, "families": families}
    return profile_there(name, device, **settings) if device else profile_here(name, **settings)


def doctor() -> DoctorReport:
    """List the installed runtimes and extras, and how to install the missing ones."""
    return examine()
