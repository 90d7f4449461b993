"""Latency by turns, over processes: every contender runs for a moment, round after round, so that drift hits all alike.

Single stream, as MLPerf Inference calls it: one image after another, each timed from its start to its end.
"""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from .timing import burst
from .towerjob import TowerJob

SAMPLES = 1024  # MLPerf's least for a single stream ...
ENOUGH_SECONDS = 10.0  # ... or so long on one contender alone, where it is slow
WORKER = [sys.executable, "-m", "edgeclip.runtime.worker"]  # starts one in this installation; a job is appended
TURN_SECONDS = 0.2
ANSWER, FAILED, PROGRESS = "answer", "failed", "progress"  # what a line of a worker's holds
# A worker that says nothing for so long hangs. TensorRT builds an engine when a graph is opened.
SILENT_SECONDS, OPEN_SECONDS = 600.0, 3600.0


class Crashed(Exception):
    """A worker's process ended, or could not do what it was told; the text says how."""


class Contender(Protocol):
    """What can be timed in turns."""

    def burst(self, seconds: float) -> list[float]:
        """Single images for so long, at least a few: each one's milliseconds."""
        ...


class Worker:
    """The other side of :func:`edgeclip.runtime.worker.work`: a process with one tower in it."""

    def __init__(self, command: Sequence[str], job: TowerJob) -> None:
        """Start it: ``command`` and the job as its last argument."""
        words = [*command, json.dumps(asdict(job))]
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 (not a pipe: one that nobody empties stops a process)
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._complaints, text=True, encoding="utf-8"
        )
        self._answers: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join(timeout=5)
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()  # type: ignore[union-attr]
        self._complaints.close()

    def _read(self) -> None:
        """Lines as they come, and an empty one at the end: a thread waits for them, so that a wait can have an end."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")

    def ask(self, do: str, *, on_progress: Callable[[int], None] | None = None, **arguments: Any) -> Any:
        """Tell it to do something, and wait for what it found; ``on_progress`` is told how far a long command is.

        Raises:
            Crashed: its process died, it could not, or it was silent for too long.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has died: the end of its stdout says so, its exit status why
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
        while True:
            answer = self._answer(OPEN_SECONDS if do == "open" else SILENT_SECONDS + arguments.get("seconds", 0))
            if PROGRESS not in answer:
                break
            if on_progress:
                on_progress(int(answer[PROGRESS]))
        if FAILED in answer:
            raise Crashed(answer[FAILED])
        return answer[ANSWER]

    def _answer(self, seconds: float) -> dict[str, Any]:
        try:
            line = self._answers.get(timeout=seconds)
        except queue.Empty:
            self._process.kill()
            raise Crashed(f"it hung: no answer for {seconds / 60:.0f} minutes") from None
        if not line:
            raise Crashed(self._last_words())
        with contextlib.suppress(ValueError):
            answer = json.loads(line)
            if isinstance(answer, dict) and answer.keys() & {ANSWER, FAILED, PROGRESS}:
                return answer
        raise Crashed(f"it answers {line[:80]!r}, which is not an answer")

    def burst(self, seconds: float) -> list[float]:
        """As :class:`Contender`."""
        return [float(ms) for ms in self.ask("burst", seconds=seconds)]

    def _last_words(self) -> str:
        status = self._process.wait()
        if status < 0:
            return f"the process crashed (signal {-status})"
        self._complaints.seek(0)
        lines = self._complaints.read().decode("utf-8", "replace").strip().splitlines()
        return (lines or [f"the process ended (status {status})"])[-1]


class Call:
    """A function of this process as a contender: a torch tower, which has no bundle."""

    def __init__(self, run: Callable[[], object]) -> None:
        self._run = run

    def burst(self, seconds: float) -> list[float]:
        """As :class:`Contender`."""
        return burst(self._run, seconds=seconds)


@dataclass
class Taken:
    """What one contender's turns gave."""

    ms: list[float] = field(default_factory=list)  # every sample, in order
    turns: list[tuple[float, float]] = field(default_factory=list)  # seconds since the start, p50 of that turn
    failed: str | None = None

    @property
    def enough(self) -> bool:
        """1,024 samples, or ten seconds of running."""
        return len(self.ms) >= SAMPLES or sum(self.ms) >= 1e3 * ENOUGH_SECONDS

    def take(self, contender: Contender, start: float) -> None:
        """One turn."""
        try:
            ms = contender.burst(TURN_SECONDS)
        except Crashed as error:
            self.failed = str(error)
            return
        self.ms += ms
        self.turns.append((time.perf_counter() - start, float(np.median(ms))))


def take_turns(
    contenders: Mapping[str, Contender],
    *,
    seconds: float,
    pacemaker: str | None = None,
    on_round: Callable[[float], None] | None = None,
) -> dict[str, Taken]:
    """Give each contender a moment in turn for ``seconds`` in all; those without enough samples by then go on.

    The first call of a turn is not counted: it finds the caches as another contender left them. A contender that
    crashes is out; its reason is kept. The ``pacemaker`` runs in every round, however few its samples are.
    ``on_round`` is told the seconds that each round took.
    """
    results = {name: Taken() for name in contenders}
    start = time.perf_counter()
    now, rounds = start, 0
    while True:
        began, over = now, rounds >= 2 and now - start >= seconds
        alive = {name: taken for name, taken in results.items() if taken.failed is None}
        wanting = [name for name, taken in alive.items() if name == pacemaker or not (over and taken.enough)]
        if not set(wanting) - {pacemaker}:
            return results
        for name in wanting:
            results[name].take(contenders[name], start)
        now, rounds = time.perf_counter(), rounds + 1
        if on_round:
            on_round(now - began)
