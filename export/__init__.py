"""Make the student deployable: tower -> ONNX -> precision -> validation -> bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if __name__ != "edgeclip.exporting":
    raise ImportError("this folder is imported as edgeclip.exporting: pip install -e . and import that")

if TYPE_CHECKING:
    from .pipeline import export

__all__ = ["export"]


def __getattr__(name: str) -> Any:
    """Import ``export`` when it is first asked for: it brings torch."""
    if name == "export":
        from .pipeline import export

        return export
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
