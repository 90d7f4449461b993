"""Latency by turns: every contender runs in short bursts, round after round, so that drift hits all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


def burst(run: Callable[[], object], *, seconds: float, least: int = 5) -> list[float]:
    """Call ``run`` again and again for so long, ``least`` times at least: each call's milliseconds.

    The first call is made but not counted: it finds the caches as others left them.
    """
    run()
    samples: list[float] = []
    deadline = time.perf_counter() + seconds
    while len(samples) < least or time.perf_counter() < deadline:
        begin = time.perf_counter_ns()
        run()
        samples.append((time.perf_counter_ns() - begin) / 1e6)
    return samples


def percentiles(ms: Sequence[float]) -> dict[str, float]:
    """p50, p90, p95, p99 and the largest, ms."""
    cuts = np.percentile(np.asarray(ms), (50, 90, 95, 99, 100))
    return dict(zip(("p50", "p90", "p95", "p99", "max"), map(float, cuts), strict=True))


@dataclass(frozen=True)
class Samples:
    """The single calls of one contender, in milliseconds, in the order they were made."""

    ms: NDArray[np.float64]

    def percentile(self, q: float) -> float:
        """The ``q``-th percentile, ms."""
        return float(np.percentile(self.ms, q))

    @property
    def p50(self) -> float:
        """Median, ms."""
        return self.percentile(50)

    @property
    def p90(self) -> float:
        """90th percentile, ms."""
        return self.percentile(90)

    @property
    def p99(self) -> float:
        """99th percentile, ms."""
        return self.percentile(99)

    @property
    def spread(self) -> float:
        """(p90 - p10) / p50: how much single calls differ."""
        return (self.p90 - self.percentile(10)) / self.p50


def interleaved(
    runs: Mapping[str, Callable[[], object]],
    *,
    seconds: float,
    warmup: int = 3,
    burst: int = 5,
    on_round: Callable[[float], None] | None = None,
) -> dict[str, Samples]:
    """Time each callable in bursts of ``burst`` calls, round robin, until ``seconds`` are over.

    The first call of a burst is made but not counted: it finds the caches as the contender before left them. At least
    two rounds are run whatever the time. ``on_round`` is told the seconds that each round took.
    """
    for run in runs.values():
        for _ in range(warmup):
            run()
    nanoseconds: dict[str, list[int]] = {name: [] for name in runs}
    deadline, rounds = time.perf_counter() + seconds, 0
    while rounds < 2 or time.perf_counter() < deadline:
        started = time.perf_counter()
        for name, run in runs.items():
            run()
            for _ in range(burst):
                begin = time.perf_counter_ns()
                run()
                nanoseconds[name].append(time.perf_counter_ns() - begin)
        rounds += 1
        if on_round:
            on_round(time.perf_counter() - started)
    return {name: Samples(np.asarray(times, np.float64) / 1e6) for name, times in nanoseconds.items()}
