"""Measure what image towers cost on this device: the probe kit's graphs, each by turns with a reference graph.

A turn opens one graph, runs it in short bursts that alternate with bursts of the reference, and closes it again, so
that a small board never holds more than two. A sweep is a turn for every graph, each tower unlike those before it, so
that whatever stops the probe, what was measured spans the whole; sweeps are repeated until the time is up. A graph's
figure is the median, over its turns, of its time over the reference's beside it: a machine that slows down for a while
slows both.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.console import progress_bar, say
from ..base.errors import EdgeclipError, did_you_mean
from ..base.interrupts import heeded
from ..device.facts import conditions, target_here
from ..runtime.engines.protocol import Engine
from ..runtime.engines.registry import fastest_engine, find_engine
from ..runtime.target import Conditions, Device, Precision, Runtime
from ..runtime.timing import Samples, interleaved
from .basememory import base_memory_mb
from .costmodel import FEWEST, fit
from .probekit import KIT, Graph, Kit
from .schema import CostModel, Flag, Latency, Profile, Reference
from .verdict import judge

WARMUP, BURST, SHORT_BURST = 1, 4, 2  # calls before and within each burst; a turn makes two bursts or more
SLOW_MS = 150.0  # graphs slower than this get short bursts
TURN_SECONDS = 0.15  # for bursts, at least
UNTRUSTED = 0.6  # of held-out error: a cost model that errs more predicts nothing


@dataclass
class Series:
    """What one graph and the reference beside it took, turn by turn."""

    graph: Graph
    turns: list[tuple[Samples, Samples]] = field(default_factory=list)  # the graph's own, the reference's

    @property
    def relative(self) -> float:
        """Time over the reference's."""
        return float(np.median([tower.p50 / beside.p50 for tower, beside in self.turns]))


def profile(
    name: str,
    *,
    engine: str | None = None,
    provider: str | None = None,
    threads: int | None = None,
    seconds: float = 60,
    precisions: Sequence[Precision] = (),
    families: Sequence[str] = (),
    kit_file: Path = KIT,
) -> Profile:
    """Measure this device, with one engine on one provider. Ctrl-C ends it early and keeps what was measured.

    Args:
        name: of the profile: letters, digits, dot, dash, underscore.
        engine: what executes the graphs; when None, that of an accelerator that is here, else onnxruntime.
        provider: of the engine; its usual one when None.
        threads: CPU threads; all usable cores when None.
        seconds: time to spend. A slow device takes longer where the fewest graphs for a cost model need it.
        precisions: those to measure; all that the engine has kernels of its own for when empty, and no others.
        families: of towers, those to measure: few of them are measured better in the same time. All when empty.
        kit_file: the graphs to measure.

    Raises:
        EdgeclipError: an argument is unfit, the probe was interrupted before enough was measured, or the machine was
            so restless that the figures predict nothing.
    """
    _check(name, threads, seconds)
    engine = engine or fastest_engine().name
    target, chosen = target_here(engine, threads, provider), find_engine(engine, provider)
    precisions = list(dict.fromkeys(precisions)) or target.precisions
    if foreign := [precision for precision in precisions if precision not in target.precisions]:
        has = " and ".join(target.precisions)
        raise EdgeclipError(f"{foreign[0]} has no kernels of its own on {target.runtime.provider}: measure {has}")
    device, before = target.device, conditions()
    with Kit(kit_file) as kit:
        recipes = [chosen.recipe(precision, device.features) for precision in precisions]
        kinds = [{g.name: g for g in kit.choose(recipe)} for recipe in recipes]
        graphs = [kind[tower] for tower in _towers(kit, families) for kind in kinds if tower in kind]
        say(f"probe: {len(graphs)} image towers on {device.cpu}, {target.runtime.told}, about {seconds:.0f} s")
        base = base_memory_mb(kit, target.runtime)
        series, interrupted = _sweep(kit, graphs, chosen, target.runtime, seconds)
        models, rows = {}, []
        for precision in precisions:
            models[precision], table = _fit(kit, [s for s in series if s.graph.precision == precision])
            rows += table
        reference = _reference(kit.index.reference, series)
    if (worst := max(model.held_out_error for model in models.values())) > UNTRUSTED:
        raise EdgeclipError(
            f"timing was too noisy: predictions are off by {worst:.0%}; end other work "
            "and run it again, with more --seconds"
        )
    measured = _Measured(reference, series, rows, len(graphs), interrupted)
    flags, notes = _doubts(device, before, after := conditions(), measured)
    return Profile(
        name=name,
        provenance="measured",
        measured_on=date.today().isoformat(),
        notes=notes,
        flags=flags,
        device=device,
        runtime=target.runtime,
        reference=reference,
        before=before,
        after=after,
        base_memory_mb=base,
        cost_model=models,
        latency=rows,
    )


@dataclass
class _Measured:
    """What a probe has found, as far as it is judged by."""

    reference: Reference
    series: Sequence[Series]
    rows: Sequence[Latency]
    wanted: int  # graphs
    interrupted: bool


def _doubts(device: Device, before: Conditions, after: Conditions, measured: _Measured) -> tuple[list[Flag], list[str]]:
    """Flags for programs, and notes for people, which are said, too."""
    beside = [reference.p50 for s in measured.series for _, reference in s.turns]
    flags, notes = judge(device, before, after, measured.reference, measured.rows, beside)
    short = (
        f"{len(measured.series)} of {measured.wanted} graphs measured" if len(measured.series) < measured.wanted else ""
    )
    if short or measured.interrupted:
        flags.append("incomplete")
        why = "interrupted" if measured.interrupted else "out of time"
        notes.append(why + (f": {short}" if short else " in a later sweep"))
    for note in notes:
        say(f"probe: {note}")
    return flags, notes


def _check(name: str, threads: int | None, seconds: float) -> None:
    """Refuse arguments that are unfit."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise EdgeclipError(f"{name!r} cannot name a profile: letters, digits, dots, dashes and underscores only")
    if not seconds > 0:
        raise EdgeclipError(f"{seconds} s is too short to measure: give --seconds more than 0")
    if threads is not None and threads < 1:
        raise EdgeclipError(f"{threads} threads cannot run anything: give --threads 1 or more")


def _towers(kit: Kit, families: Sequence[str]) -> list[str]:
    """The kit's towers of some families, in its order."""
    known = {workload.family for workload in kit.index.towers.values()}
    if unknown := [family for family in families if family not in known]:
        raise EdgeclipError(f"no family of towers is called {unknown[0]!r}; {did_you_mean(unknown[0], known)}")
    return [name for name, workload in kit.index.towers.items() if not families or workload.family in families]


def _sweep(
    kit: Kit, graphs: Sequence[Graph], engine: Engine, runtime: Runtime, seconds: float
) -> tuple[list[Series], bool]:
    """Measure until the time is up, or Ctrl-C. Returns what was measured, and whether it was interrupted.

    Raises:
        EdgeclipError: interrupted before a cost model can be fitted for each precision.
    """
    series = [Series(graph) for graph in graphs]
    started = last = time.perf_counter()
    interrupted = over = False
    try:
        with progress_bar("probe", seconds, unit="s") as bar:
            settings: dict[str, Any] = {"threads": runtime.threads, "provider": runtime.provider}
            reference = kit.open(kit.reference, engine, **settings)
            while not over:
                for each in series:
                    each.turns.append(take_turn(reference, kit.open(each.graph, engine, **settings)))
                    now = time.perf_counter()
                    bar.advance(now - last)
                    bar.note(f"{each.graph.name} {each.graph.precision}")
                    last = now
                    if over := now - started >= seconds and _enough(series):
                        break
    except KeyboardInterrupt:
        interrupted = True
        if not _enough(series):
            short = f"interrupted after {len([s for s in series if s.turns])} graphs; {FEWEST} in each precision"
            raise EdgeclipError(f"{short} are needed: run it again, with fewer --seconds if time is short") from None
        heeded()
    return [s for s in series if s.turns], interrupted


def take_turn(reference: Callable[[], object], tower: Callable[[], object]) -> tuple[Samples, Samples]:
    """Bursts of one graph and of the reference, alternating: the samples of each."""
    begin = time.perf_counter()
    tower()
    burst = SHORT_BURST if (time.perf_counter() - begin) * 1e3 > SLOW_MS else BURST
    times = interleaved({"reference": reference, "own": tower}, seconds=TURN_SECONDS, warmup=WARMUP, burst=burst)
    return times["own"], times["reference"]


def _enough(series: Sequence[Series]) -> bool:
    wanted = {s.graph.precision for s in series}
    return all(sum(s.graph.precision == p and bool(s.turns) for s in series) >= FEWEST for p in wanted)


def _fit(kit: Kit, series: Sequence[Series]) -> tuple[CostModel, list[Latency]]:
    """One precision's cost model, and its rows of the profile's table."""
    loads = [kit.index.towers[s.graph.name] for s in series]
    model, composed = fit(loads, [s.relative for s in series], series[0].graph.recipe)
    rows = []
    for each, load, sum_of_pieces in zip(series, loads, composed, strict=True):
        every = _joined([tower for tower, _ in each.turns])
        rows.append(
            Latency(
                name=each.graph.name,
                family=load.family,
                precision=each.graph.precision,
                gflops=load.gflops,
                params_m=load.params_m,
                p50_ms=every.p50,
                p90_ms=every.p90,
                spread=every.spread,
                runs=len(every.ms),
                warmup=(1 + WARMUP) * len(each.turns),
                relative=each.relative,
                composed=sum_of_pieces,
            )
        )
    return model, rows


def _reference(name: str, series: Sequence[Series]) -> Reference:
    """The reference's own figures, over all turns; a round is a tenth of them, in the order they were made."""
    turns = max(len(s.turns) for s in series)
    inorder = [s.turns[sweep][1] for sweep in range(turns) for s in series if sweep < len(s.turns)]
    rounds = [
        np.median([beside.p50 for beside in part])
        for part in np.array_split(np.array(inorder, object), 10)
        if len(part)
    ]
    p50 = _joined(inorder).p50
    return Reference(name=name, p50_ms=p50, drift=float((max(rounds) - min(rounds)) / np.median(rounds)))


def _joined(parts: Sequence[Samples]) -> Samples:
    every: NDArray[np.float64] = np.concatenate([part.ms for part in parts])
    return Samples(every)
