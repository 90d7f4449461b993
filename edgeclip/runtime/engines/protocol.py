"""The verbs that every engine has. :mod:`.registry` says which engines there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class OperatorShare:
    """A kind of operator: its share of the graph's time, 0..1, and how many nodes are of it."""

    operator: str
    share: float
    nodes: int


@dataclass(frozen=True)
class HotSpots:
    """Where the time goes, as far as the engine tells."""

    operators: list[OperatorShare]  # the largest share first
    fell_back: list[str]  # what another provider than the one asked for ran
    on_provider: float | None = None  # share of the time that was spent on the one asked for, 0..1


class Session(Protocol):
    """A graph that an engine has opened."""

    providers: Sequence[str]  # what runs it, the first choice first
    concurrent: bool  # several threads may run it at once

    def run(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        """The graph's first output, float32 ``[N, ...]``, for ``N`` rows of its one input."""
        ...


class Engine(Protocol):
    """What executes graphs, on this machine."""

    name: str  # as profiles, specs and bundles have it
    provider: str  # the one that is taken where none is asked for
    accelerator: bool  # it runs on more than the CPU: a device that can use it is profiled with it

    def unavailable(self) -> str | None:
        """Why it cannot be used here, and how to mend that; None where it can."""
        ...

    def version(self) -> str:
        """Of what is installed here."""
        ...

    def providers(self) -> Sequence[str]:
        """Those that can be asked for here."""
        ...

    def precisions(self, provider: str) -> Sequence[str]:
        """Those that it has kernels of its own for: fp32 first."""
        ...

    def recipe(self, precision: str, features: Sequence[str]) -> str:
        """The recipe by which a graph comes to be in a precision for it, on a CPU with these instruction sets.

        It names the int8 recipe that is exported (``edgeclip.exporting.int8.RECIPES``) and the graphs of the probe kit
        that are measured; that of fp32 is the reference beside which everything is timed.
        """
        ...

    def reads(self, recipe: str) -> bool:
        """Whether it runs a graph that was made by this recipe."""
        ...

    def open(
        self,
        graph: Path | bytes,
        *,
        precision: str = "fp32",
        threads: int | None = None,
        provider: str | None = None,
        as_written: bool = False,
    ) -> Session:
        """Open a graph on a provider, with so many CPU threads: all that are usable when None.

        ``as_written`` runs every node as the graph has it, quantised values in float: what int8 gives on any device,
        where this machine's own int8 kernels may differ.

        Raises:
            EdgeclipError: the provider is not here, or the graph cannot be opened.
        """
        ...

    def hot_spots(
        self, graph: Path, rows: NDArray[Any], *, runs: int, precision: str, threads: int | None, provider: str | None
    ) -> HotSpots:
        """Run the graph on ``rows`` so often, and tell where the time goes."""
        ...
