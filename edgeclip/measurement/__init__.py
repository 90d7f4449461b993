"""Figures of one machine, this one or one over ssh or adb: verified first, then accuracy, latency and memory."""

from .figures import measure
from .verify import verify

__all__ = ["measure", "verify"]
