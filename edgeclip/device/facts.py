"""What a machine says about itself: enough to know whether a profile speaks for it. Nothing is measured or guessed."""

from __future__ import annotations

from dataclasses import asdict
from typing import cast

from ..base.errors import EdgeclipError
from ..runtime.cores import usable_cores
from ..runtime.engines.registry import find_engine
from ..runtime.target import Conditions, Device, Precision, Runtime, Target
from .machine import this_machine
from .sensors import read_sensors


def describe_device() -> Device:
    """The machine this runs on. The same machine gives the same answer."""
    return Device(**asdict(this_machine()))


def conditions() -> Conditions:
    """What changes from minute to minute on this machine, now."""
    return Conditions(**asdict(read_sensors()))


def target_here(engine: str | None = None, threads: int | None = None, provider: str | None = None) -> Target:
    """This machine, with an engine that is here: the default one, its provider and all usable cores where None.

    Raises:
        EdgeclipError: there is no such engine or provider here.
    """
    chosen = find_engine(engine, provider)
    provider = provider or chosen.provider
    runtime = Runtime(name=chosen.name, version=chosen.version(), provider=provider, threads=threads or usable_cores())
    precisions = [cast(Precision, name) for name in chosen.precisions(provider)]
    return Target(device=describe_device(), runtime=runtime, precisions=precisions)


def why_elsewhere(target: Target) -> str | None:
    """Why what is measured here does not speak for ``target``; None: same machine, engine, provider and version."""
    if target.device != describe_device():
        return "it is of another device"
    try:
        version = find_engine(target.runtime.name, target.runtime.provider).version()
    except EdgeclipError as error:
        return str(error)
    if version != target.runtime.version:
        return f"it was measured with {target.runtime.name} {target.runtime.version}, but {version} is installed"
    return None
