"""Which engines there are: those of this package, and those that installed packages bring.

A package brings one by an entry point in the group ``edgeclip.engines``: its name is the engine's, its object an
:class:`~edgeclip.runtime.engines.protocol.Engine`.
"""

from __future__ import annotations

from importlib.metadata import entry_points

from ...errors import EdgeclipError
from .ort import Onnxruntime
from .protocol import Engine

GROUP = "edgeclip.engines"
OURS: tuple[Engine, ...] = (Onnxruntime(),)
BROUGHT = ("tensorrt", "tensorrt-rtx")  # by edgeclip, where more of it is installed than a bundle's lone runner
DEFAULT = "onnxruntime"


def find_engine(name: str | None = None) -> Engine:
    """The engine of that name, the default one for None.

    Raises:
        EdgeclipError: there is none, or it cannot be used here.
    """
    wanted = name or DEFAULT
    engine = next((engine for engine in OURS if engine.name == wanted), None)
    if engine is None:
        brought = {point.name: point for point in entry_points(group=GROUP)}
        if wanted not in brought:
            there = ", ".join([*(engine.name for engine in OURS), *sorted(brought)])
            how = f"; pip install 'edgeclip[{wanted}]' brings it" if wanted in BROUGHT else ""
            raise EdgeclipError(f"no engine is called {wanted!r} here; there are: {there}{how}")
        engine = brought[wanted].load()
    if why := engine.unavailable():
        raise EdgeclipError(f"{wanted} cannot be used here: {why}")
    return engine
