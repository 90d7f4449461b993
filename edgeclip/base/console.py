"""What people see while something runs. All of it goes to stderr, or to a callback: stdout carries results alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Drawn
from rich.progress import TimeRemainingColumn as TimeLeft

from .visible import visible

console = Console(stderr=True, highlight=False)


@dataclass(frozen=True)
class Progress:
    """What a stage tells while it runs: a line, or how far something is."""

    text: str
    done: float | None = None  # of ``total``; None: this is a line
    total: float | None = None
    unit: str = ""  # of these two, where they are not things that are counted
    note: str = ""  # the figure that people watch: a loss, a top-1

    def __str__(self) -> str:
        """One line for people."""
        if self.done is None:
            return self.text
        how_far = f"{int(self.done)} of {int(self.total or 0)} {self.unit}".rstrip()
        return f"{self.text}: {how_far}{f', {self.note}' if self.note else ''}"


Callback = Callable[[Progress], None]
_callback: Callback | None = None  # None: it goes to stderr


@contextmanager
def progress(callback: Callback) -> Iterator[None]:
    """Pass what stages tell to ``callback`` instead of stderr, while the block runs.

    Example::

        with edgeclip.progress(print):
            edgeclip.distill(...)
    """
    global _callback
    before, _callback = _callback, callback
    try:
        yield
    finally:
        _callback = before


def say(text: str) -> None:
    """Print one line for people. Markup and controls in ``text`` are shown, not obeyed: names of files are hostile."""
    if _callback:
        if not console.quiet:
            _callback(Progress(visible(text)))
        return
    console.print(visible(text), markup=False, soft_wrap=True)


EVERY = 30.0  # seconds between two lines of a log


class Bar:
    """One progress bar: :meth:`advance` it, and :meth:`note` the figure that people watch (a loss, a top-1).

    Where it is not drawn (a log, CI), a line tells from time to time how far it is.
    """

    def __init__(self, progress: Drawn, task: TaskID, after: float, unit: str) -> None:
        self._progress, self._task, self._unit, self._note = progress, task, unit, ""
        self._told = time.monotonic()
        self._begins = self._told + after if after else None

    def advance(self, steps: float = 1) -> None:
        """Move on by ``steps``."""
        self._progress.advance(self._task, steps)
        if _callback:
            self._call(_callback)
            return
        if self._begins is not None and time.monotonic() >= self._begins:
            self._progress.start()
            self._begins = None
        if not console.is_terminal and time.monotonic() - self._told >= EVERY:
            self._told = time.monotonic()
            self._tell()

    def enough(self) -> None:
        """What is left is not needed: the bar is full, for one that stops short looks like a failure."""
        self._progress.update(self._task, total=self._state().completed)

    def note(self, text: str) -> None:
        """Show ``text`` at the bar's end."""
        self._note = visible(text)
        self._progress.update(self._task, note=self._note)

    def _call(self, callback: Callback) -> None:
        task = self._state()
        if not console.quiet:
            callback(Progress(task.description, task.completed, task.total, self._unit, self._note))

    def _state(self) -> Task:
        return next(task for task in self._progress.tasks if task.id == self._task)

    def _tell(self) -> None:
        task = self._state()
        rate = f", {task.speed:.3g} a second" if task.speed and not self._unit else ""
        left = f", {timedelta(seconds=int(task.time_remaining))} left" if task.time_remaining is not None else ""
        note = f", {self._note}" if self._note else ""
        done = f"{int(task.completed)} of {int(task.total or 0)}{' ' if self._unit else ''}{self._unit}"
        say(f"{task.description}: {done}{rate}{left}{note}")


@contextmanager
def progress_bar(title: str, total: float, *, done: int = 0, after: float = 0.0, unit: str = "") -> Iterator[Bar]:
    """A bar with count, elapsed and remaining time; drawn only on a terminal, a line now and then elsewhere.

    Nothing of it is shown before ``after`` seconds have passed. ``unit``: what is counted, where it is no things.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeLeft(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    drawn = Drawn(*columns, console=console, transient=False)
    if not (after or _callback):
        drawn.start()
    try:
        yield Bar(drawn, drawn.add_task(visible(title), total=total, completed=done, note=""), after, unit)
    finally:
        if drawn.live.is_started:
            drawn.stop()
