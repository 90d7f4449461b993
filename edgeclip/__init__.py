"""edgeclip: a teacher, unpaired images and sentences, and a device in; the student it can afford out.

One function a stage, in the room of its name::

    from edgeclip.profiling.probe import profile
    from edgeclip.selection import select
    from edgeclip.distillation import distill
    from edgeclip.exporting import export
    from edgeclip.measurement import measure
    from edgeclip.evaluation import evaluate
    from edgeclip.reporting import report

and ``edgeclip.load(path_or_name)`` for anything that encodes: a bundle, a run, a teacher.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .chain.loading import load

__all__ = ["__version__", "load"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import ``load`` when it is first asked for: naming the package must cost nothing."""
    if name == "load":
        from .chain.loading import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """What there is, whether or not it was asked for yet."""
    return sorted({*globals(), *__all__})
