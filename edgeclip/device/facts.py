"""What a machine says about itself: enough to know whether a profile speaks for it. Nothing is measured or guessed."""

from __future__ import annotations

from .machine import machine_facts
from .schema import Device
from .sensors import Conditions, conditions

__all__ = ["Conditions", "conditions", "describe_device"]


def describe_device() -> Device:
    """The machine this runs on. The same machine gives the same answer."""
    return Device.model_validate(machine_facts())
