"""Teach the student: objectives, feature store, data, trainer, run directory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .pipeline import distill

__all__ = ["distill"]


def __getattr__(name: str) -> Any:
    """Import ``distill`` when it is first asked for: it brings torch."""
    if name == "distill":
        from .pipeline import distill

        return distill
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
