"""Accuracy, latency and memory of a chain of encoders, from the teacher to the artefact on the device."""

from .figures import measure
from .verify import verify

__all__ = ["measure", "verify"]
