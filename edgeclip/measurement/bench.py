"""Measure image towers on this device, one process a tower.

With numpy, Pillow and onnxruntime alone: the single-file runner measures with this very module.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ..device.machine import this_machine
from ..device.sensors import energy, read_sensors
from ..runtime.engines.protocol import HotSpots, OperatorShare
from ..runtime.timing import percentiles
from ..runtime.towerjob import TowerJob
from ..runtime.turns import ENOUGH_SECONDS, SAMPLES, Contender, Crashed, Taken, Worker, take_turns
from ..runtime.worker import EmbeddedImages, FileToEmbedding, Opened
from .results import BenchResult, EnergyPerImage, SustainedRun, TowerResult

REFERENCE = "reference"
BATCHES = (1, 8, 32)
BATCH_SECONDS, END_TO_END_SECONDS, ENERGY_SECONDS = 0.3, 0.3, 2.0
WINDOW_SECONDS = 30.0  # of a sustained run's beginning and end, which are compared
RULE = f"single stream, in turns: at least {SAMPLES} samples or {ENOUGH_SECONDS:.0f} s of its own running a row"

Step = Callable[[str, int, int], None]  # what is being done, steps done, steps in all


@dataclass
class Plan:
    """What to measure."""

    towers: dict[str, TowerJob]  # by the name of the report's row
    focus: str  # the tower that matters: energy and the sustained run are measured of it
    reference: TowerJob | None = None  # a graph that is the same in every run: it shows the machine's drift
    images: list[str] = field(default_factory=list)  # to embed with every tower: files, or members of ``archive``
    archive: str | None = None  # a zip file with the images
    seconds: float = 20.0  # for the turns, all together
    sustained: float = 0.0  # seconds of running without a break; 0: not measured


def bench(
    plan: Plan,
    *,
    command: Sequence[str],
    out: Path,
    beside: Mapping[str, Contender] | None = None,
    on_step: Step | None = None,
) -> BenchResult:
    """Measure everything in ``plan``; a tower that crashes has ``failed`` for its figures.

    Args:
        plan: what to measure.
        command: starts a worker; a job is appended.
        out: folder for the embeddings: ``NUMBER.npy``, float32 ``[images, D]``, rows as in ``plan.images``.
        beside: contenders of this process that take turns with the towers (torch models, which are no graphs).
        on_step: told what is being done.
    """
    progress = _Progress(on_step, steps=2 * len(plan.towers) + 3)
    before = read_sensors()
    rows = {name: TowerResult() for name in [*plan.towers, *(beside or {})]}
    with ExitStack() as stack:
        alive: dict[str, Worker] = {}
        for name, job in [*plan.towers.items(), *([(REFERENCE, plan.reference)] if plan.reference else [])]:
            progress(f"open {name}")
            row = rows.setdefault(name, TowerResult())
            worker = stack.enter_context(Worker(command, job))
            if _try(row, "opened", partial(_open, row, worker)):
                alive[name] = worker
        progress("latency")
        taken = _turns(alive, beside or {}, plan.seconds, progress)
        for name, turns in taken.items():
            _note_latency(rows[name], turns)
            if turns.failed is not None:
                alive.pop(name)
        for number, name in enumerate(plan.towers):
            progress(f"{name}: batches, images, operators")
            if name in alive:
                _look_closer(name, rows[name], alive[name], plan, out / f"{number}.npy", progress)
        if plan.focus in alive:
            progress(f"{plan.focus}: energy" + (", sustained" if plan.sustained else ""))
            row, worker = rows[plan.focus], alive[plan.focus]
            _try(row, "energy", partial(_measure_energy, row, worker))
            if plan.sustained:
                _try(row, "sustained", partial(_sustain, row, worker, plan.sustained, progress))
    reference = rows.pop(REFERENCE, None)
    return BenchResult(rows, reference, RULE, before=before, after=read_sensors(), machine=this_machine())


class _Progress:
    """Counts the steps that are announced."""

    def __init__(self, on_step: Step | None, steps: int) -> None:
        self._tell, self._steps, self._done = on_step, steps, -1

    def __call__(self, text: str, *, again: bool = False) -> None:
        self._done += not again
        if self._tell:
            self._tell(text, min(self._done, self._steps), self._steps)


def _turns(
    alive: Mapping[str, Worker], beside: Mapping[str, Contender], seconds: float, progress: _Progress
) -> dict[str, Taken]:
    spent = 0.0

    def on_round(took: float) -> None:
        nonlocal spent
        spent += took
        progress(f"latency, {spent:.0f} of {seconds:.0f} s", again=True)

    contenders: dict[str, Contender] = {**alive, **beside}
    return take_turns(contenders, seconds=seconds, pacemaker=REFERENCE, on_round=on_round)


def _open(row: TowerResult, worker: Worker) -> None:
    row.opened = Opened(**worker.ask("open"))


def _note_latency(row: TowerResult, taken: Taken) -> None:
    """Nothing of a reference beside which nothing was left to be measured."""
    row.failed = row.failed or taken.failed
    if taken.failed is None and taken.ms:
        row.latency = percentiles(taken.ms)
        row.samples_ms = [round(ms, 4) for ms in taken.ms]
        row.turns = [(round(at, 2), round(ms, 4)) for at, ms in taken.turns]


def _look_closer(name: str, row: TowerResult, worker: Worker, plan: Plan, embeds: Path, progress: _Progress) -> None:
    """What is not timed in turns. Each part may fail by itself; a worker that died fails the rest."""

    def seen(images: int) -> None:
        progress(f"{name}: {images} of {len(plan.images)} images", again=True)

    first = plan.images[0] if plan.images else None

    def batches() -> None:
        row.throughput = {str(n): float(worker.ask("batch", size=n, seconds=BATCH_SECONDS)) for n in BATCHES}

    def from_file() -> None:
        timed = worker.ask("end_to_end", seconds=END_TO_END_SECONDS, file=first, archive=plan.archive)
        row.end_to_end = FileToEmbedding(**timed)

    def operators() -> None:
        spots = worker.ask("hot_spots")
        row.hot_spots = HotSpots(**{**spots, "operators": [OperatorShare(**share) for share in spots["operators"]]})

    def images() -> None:
        wanted = {"files": plan.images, "archive": plan.archive, "out": str(embeds)}
        row.embeds = EmbeddedImages(**worker.ask("embed", on_progress=seen, **wanted))

    parts = {"throughput": batches, "end to end": from_file, "hot spots": operators}
    for what, part in {**parts, **({"embeddings": images} if plan.images else {})}.items():
        if not _try(row, what, part):
            return


def _measure_energy(row: TowerResult, worker: Worker) -> None:
    with energy() as used:
        images = len(worker.burst(ENERGY_SECONDS)) + 1
    if used.joules is not None and used.sensor is not None:
        row.energy = EnergyPerImage(1e3 * used.joules / images, used.sensor)


def _sustain(row: TowerResult, worker: Worker, seconds: float, progress: _Progress) -> None:
    """Without a break: does the machine keep its pace? Medians a second, the last half minute over the first."""
    begin = time.perf_counter()
    every: list[tuple[float, list[float]]] = []
    while (now := time.perf_counter() - begin) < seconds:
        every.append((now, worker.burst(1.0)))
        progress(f"sustained, {now:.0f} of {seconds:.0f} s", again=True)
    window = min(WINDOW_SECONDS, seconds / 2)
    first = [ms for at, samples in every if at < window for ms in samples]
    last = [ms for at, samples in every if at >= seconds - window for ms in samples] or every[-1][1]
    row.sustained = SustainedRun(
        seconds=seconds,
        window_seconds=window,
        last_over_first=percentiles(last)["p50"] / percentiles(first)["p50"],
        each_second=[(round(at, 2), round(percentiles(samples)["p50"], 4)) for at, samples in every],
        after=read_sensors(),
    )


def _try(row: TowerResult, what: str, part: Callable[[], None]) -> bool:
    """Do a part; a crash becomes the row's ``failed``."""
    try:
        part()
    except Crashed as error:
        row.failed = f"{what}: {error}"
        return False
    return True
