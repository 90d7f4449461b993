"""The verbs that every engine has. :mod:`.registry` says which engines there are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


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

    def unavailable(self) -> str | None:
        """Why it cannot be used here, and how to mend that; None where it can."""
        ...

    def version(self) -> str:
        """Of what is installed here."""
        ...

    def precisions(self, provider: str) -> Sequence[str]:
        """Those that it has kernels of its own for: fp32 first."""
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
    ) -> dict[str, Any]:
        """Where the time goes: ``operators`` (each with its ``share`` and ``nodes``), and those that ``fell_back``.

        ``fell_back`` lists what another provider than the one asked for ran. Both are empty where it does not tell.
        """
        ...
