"""Zero-shot accuracy of any Encoder, and the datasets it is measured on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .zeroshot import evaluate

__all__ = ["evaluate"]


def __getattr__(name: str) -> Any:
    """Import ``evaluate`` when it is first asked for."""
    if name == "evaluate":
        from .zeroshot import evaluate

        return evaluate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
