"""What is measured of a bundle, and for how long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..runtime.target import Precision


@dataclass(frozen=True)
class MeasureConfig:
    """How a bundle is measured.

    Args:
        precisions: the variants to measure; all when empty. Only of all of them can the best be named.
        seconds: for latency, all rows together.
        sustained: seconds without a break, of the variant that is used.
        engine: what executes the variants; the target's when None.
        provider: of the engine; the target's when None, or the usual one of another engine than the target's.
        threads: CPU threads; the target's when None, on this machine no more than it has cores.
    """

    precisions: Sequence[Precision] = ()
    seconds: float = 20
    sustained: float = 0
    engine: str | None = None
    provider: str | None = None
    threads: int | None = None
