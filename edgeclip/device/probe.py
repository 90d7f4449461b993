"""Measure what image towers cost on this device: the probe kit's graphs, each by turns with a reference graph.

A sweep measures every graph once, in a few short bursts that alternate with bursts of the reference; sweeps are
repeated until the time is up. A graph's figure is the median, over the sweeps, of its time over the reference's in
the same moment: a machine that slows down for a while slows both.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..console import progress_bar, say
from ..errors import EdgeclipError
from ..runtime.timing import Samples, interleaved
from .costmodel import FEWEST, fit
from .facts import Conditions, conditions, describe_device, usable_cores
from .probekit import KIT, Graph, Kit
from .schema import Device, Latency, Precision, Profile, Reference, Runtime

WARMUP, BURST = 1, 3  # calls before and within each burst; a sweep makes two bursts a graph
NOISY_DRIFT, NOISY_SPREAD = 0.15, 0.3  # beyond these a profile says that the machine was noisy
HOT = 80.0  # degrees Celsius, where small boards begin to slow down


@dataclass
class Series:
    """What one graph and the reference beside it took, sweep by sweep."""

    graph: Graph
    run: Callable[[], object]
    turns: list[tuple[Samples, Samples]] = field(default_factory=list)  # the graph's own, the reference's

    def measure(self, reference: Callable[[], object]) -> None:
        """One turn: two bursts of each, alternating."""
        runs = {"reference": reference, "own": self.run}
        found = interleaved(runs, seconds=0, warmup=WARMUP, burst=BURST)
        self.turns.append((found["own"], found["reference"]))

    def latency(self) -> Latency:
        """The row of the profile's table."""
        every = _joined([own for own, _ in self.turns])
        return Latency(
            name=self.graph.name,
            precision=self.graph.precision,
            workload=self.graph.workload,
            p50_ms=every.p50,
            p90_ms=every.p90,
            spread=every.spread,
            runs=len(every.ms),
            warmup=WARMUP * len(self.turns),
            relative=float(np.median([own.p50 / beside.p50 for own, beside in self.turns])),
        )


def profile(
    name: str,
    *,
    threads: int | None = None,
    seconds: float = 60,
    precisions: Sequence[Precision] = ("fp32", "int8"),
    kit_file: Path = KIT,
) -> Profile:
    """Measure this device on onnxruntime's CPU provider. Ctrl-C ends it early and keeps what was measured.

    Args:
        name: of the profile: letters, digits, dot, dash, underscore.
        threads: CPU threads; all usable cores when None.
        seconds: time to spend. A slow device takes longer where the fewest graphs for a cost model need it.
        precisions: those to measure. fp16 is refused: this provider has no fp16 kernels, it casts to fp32 and back.
        kit_file: the graphs to measure.

    Raises:
        EdgeclipError: an argument is unfit, or the probe was interrupted before enough was measured.
    """
    threads = _checked(name, threads, seconds, precisions)
    device, before = describe_device(), conditions()
    with Kit(kit_file) as kit:
        graphs = [g for precision in dict.fromkeys(precisions) for g in kit.choose(precision, device.features)]
        graphs.sort(key=lambda g: g.workload.linear_gflops)  # cheapest first: a slow device measures those at least
        say(f"probe: {len(graphs)} image towers on {device.cpu}, {threads} threads, about {seconds:.0f} s")
        series, interrupted = _sweep(kit, graphs, threads, seconds)
    rows = [s.latency() for s in series]
    models = {p: fit([row for row in rows if row.precision == p]) for p in dict.fromkeys(precisions)}
    reference = _reference(kit.index.reference, series)
    notes = _notes(before, conditions(), reference, rows, device)
    if len(series) < len(graphs) or interrupted:
        why = "interrupted" if interrupted else "out of time"
        notes.append(f"{why}: {len(series)} of {len(graphs)} graphs measured")
    for note in notes:
        say(f"probe: {note}")
    return Profile(
        name=name,
        provenance="measured",
        measured_on=date.today().isoformat(),
        notes=notes,
        device=device,
        runtime=Runtime(version=metadata.version("onnxruntime"), threads=threads),
        reference=reference,
        cost_model=models,
        latency=rows,
    )


def _checked(name: str, threads: int | None, seconds: float, precisions: Sequence[Precision]) -> int:
    """The thread count, once every argument is known to be fit."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise EdgeclipError(f"{name!r} cannot name a profile: letters, digits, dots, dashes and underscores only")
    if not seconds > 0:
        raise EdgeclipError(f"{seconds} s is no time to measure in: give --seconds more than 0")
    if threads is not None and threads < 1:
        raise EdgeclipError(f"{threads} threads cannot run anything: give --threads 1 or more")
    if not precisions:
        raise EdgeclipError("no precision to measure: name fp32, int8 or both")
    if "fp16" in precisions:
        raise EdgeclipError("fp16 has no kernels of its own on CPUExecutionProvider: measure fp32 and int8")
    return threads or usable_cores()


def _sweep(kit: Kit, graphs: Sequence[Graph], threads: int, seconds: float) -> tuple[list[Series], bool]:
    """Measure until the time is up, or Ctrl-C. Returns what was measured, and whether it was interrupted.

    Raises:
        EdgeclipError: interrupted before a cost model can be fitted for each precision.
    """
    series: list[Series] = []
    wanted = {g.precision for g in graphs}
    started = time.perf_counter()
    try:
        with progress_bar("probe", seconds) as bar:
            reference = kit.open(kit.reference, threads)
            last = started
            for turn in _turns(kit, graphs, series, threads):
                turn.measure(reference)
                now = time.perf_counter()
                bar.advance(now - last)
                bar.note(f"{turn.graph.name} {turn.graph.precision}")
                last = now
                if now - started >= seconds and _enough(series, wanted):
                    break
    except KeyboardInterrupt:
        series = [s for s in series if s.turns]
        if not _enough(series, wanted):
            short = f"interrupted after {len(series)} graphs; {FEWEST} in each precision are needed"
            raise EdgeclipError(f"{short}: run it again, with fewer --seconds if time is short") from None
        return series, True
    return series, False


def _turns(kit: Kit, graphs: Sequence[Graph], series: list[Series], threads: int) -> Iterator[Series]:
    """Graph after graph, each opened when its first turn comes; then all of them again, for ever."""
    for graph in graphs:
        series.append(Series(graph, kit.open(graph, threads)))
        yield series[-1]
    while True:
        yield from series


def _enough(series: Sequence[Series], wanted: set[Precision]) -> bool:
    return all(sum(s.graph.precision == p for s in series) >= FEWEST for p in wanted)


def _reference(name: str, series: Sequence[Series]) -> Reference:
    """The reference's own figures, over all turns; a round is a sweep."""
    rounds: list[float] = []
    for sweep in range(max(len(s.turns) for s in series)):
        rounds.append(float(np.median([s.turns[sweep][1].p50 for s in series if sweep < len(s.turns)])))
    p50 = _joined([beside for s in series for _, beside in s.turns]).p50
    return Reference(name=name, p50_ms=p50, drift=(max(rounds) - min(rounds)) / float(np.median(rounds)))


def _notes(
    before: Conditions, after: Conditions, reference: Reference, rows: Sequence[Latency], device: Device
) -> list[str]:
    """What a reader must know before trusting the figures."""
    notes = []
    spread = float(np.median([row.spread for row in rows]))
    if reference.drift > NOISY_DRIFT or spread > NOISY_SPREAD:
        notes.append(
            f"noisy: the reference drifted by {reference.drift:.0%} and single calls spread by {spread:.0%}; "
            "figures relative to the reference hold better than milliseconds: measure again on an idle machine"
        )
    if before.load is not None and before.load > 0.5 * device.cores:
        notes.append(f"other work was running: load {before.load:.1f} on {device.cores} cores before the probe began")
    if before.governor not in (None, "performance"):
        notes.append(f"the clock governor is {before.governor}: 'performance' gives steadier figures")
    if after.temperature_c is not None and after.temperature_c >= HOT:
        notes.append(f"the machine reached {after.temperature_c:.0f} degrees Celsius: it may have slowed down")
    return notes


def _joined(parts: Sequence[Samples]) -> Samples:
    every: NDArray[np.float64] = np.concatenate([part.ms for part in parts])
    return Samples(every)
