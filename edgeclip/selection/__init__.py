"""Which student fits: every tower that the device can afford, ranked, and measured before it is trained."""

from __future__ import annotations

from .select import select

__all__ = ["select"]
