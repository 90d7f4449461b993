"""Which engines there are: those of this package, and those that installed packages bring.

A package brings one by an entry point in the group ``edgeclip.engines``: its name is the engine's, its object an
:class:`~edgeclip.runtime.engines.protocol.Engine`.
"""

from __future__ import annotations

from importlib.metadata import entry_points

from ...base.errors import EdgeclipError
from .ort import Onnxruntime
from .protocol import Engine

GROUP = "edgeclip.engines"
OURS: tuple[Engine, ...] = (Onnxruntime(),)
BROUGHT = ("tensorrt", "tensorrt-rtx")  # by edgeclip, where more of it is installed than a bundle's lone runner
DEFAULT = "onnxruntime"
VERBS = ("providers", "precisions", "recipe", "reads", "open", "hot_spots")


def known_engine(name: str | None = None) -> Engine:
    """The engine of that name, the default one for None, whether it can be used here or not.

    Raises:
        EdgeclipError: there is none, or what a package brings is none.
    """
    wanted = name or DEFAULT
    if ours := next((engine for engine in OURS if engine.name == wanted), None):
        return ours
    brought = {point.name: point for point in entry_points(group=GROUP)}
    if wanted not in brought:
        there = ", ".join([*(engine.name for engine in OURS), *sorted(brought)])
        how = f"; pip install 'edgeclip[{wanted}]' brings it" if wanted in BROUGHT else ""
        raise EdgeclipError(f"no engine is called {wanted!r} here; there are: {there}{how}")
    loaded = brought[wanted].load()
    if missing := [verb for verb in VERBS if not hasattr(loaded, verb)]:
        raise EdgeclipError(f"the engine {wanted} has no {', '.join(missing)}: it is made for another edgeclip")
    return loaded


def find_engine(name: str | None = None, provider: str | None = None) -> Engine:
    """The engine of that name, the default one for None, as something that can be used here.

    Raises:
        EdgeclipError: there is none, or neither it nor the provider can be used here.
    """
    engine = known_engine(name)
    if why := engine.unavailable():
        other = f"; --engine {DEFAULT} runs a bundle's graphs on any CPU" if engine.name != DEFAULT else ""
        raise EdgeclipError(f"{engine.name} cannot be used here: {why}{other}")
    if provider is not None and provider not in (there := engine.providers()):
        raise EdgeclipError(f"{engine.name} has no provider {provider!r} here; name one of: {', '.join(there)}")
    return engine


def fastest_engine() -> Engine:
    """The engine that a device is profiled with where none is named: its accelerator's, where it can be used."""
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        engine = known_engine(point.name)
        if getattr(engine, "accelerator", False) and engine.unavailable() is None:
            return engine
    return known_engine()


def reads_recipe(engine: str, recipe: str) -> bool:
    """Whether an engine runs a graph of that recipe; one that only the device knows is taken at its word."""
    try:
        return known_engine(engine).reads(recipe)
    except EdgeclipError:
        return True
