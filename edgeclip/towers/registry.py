"""Which families of image towers there are: those of this package, and those that installed packages bring.

A package brings one by an entry point in the group ``edgeclip.towers``, whose object is a
:class:`~edgeclip.towers.family.Family`.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

from .family import Family
from .timmtowers import TimmTowers
from .vit import Vits

GROUP = "edgeclip.towers"
OURS: tuple[Family, ...] = (Vits(), TimmTowers())


@cache
def families() -> tuple[Family, ...]:
    """All of them; who brings a family is asked before ours, so that it may count what ours would refuse."""
    return (*(point.load() for point in entry_points(group=GROUP)), *OURS)
