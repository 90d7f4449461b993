"""What people see while something runs. All of it goes to stderr: stdout carries results alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as TimeLeft

console = Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """Print one line for people. Markup in ``text`` is shown, not interpreted: names of files are hostile."""
    shown = text.encode("utf-8", "backslashreplace").decode("utf-8")  # they need not be text, either
    console.print(shown, markup=False, soft_wrap=True)


class Bar:
    """One progress bar: :meth:`advance` it, and :meth:`note` the figure that people watch (a loss, a top-1)."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def advance(self, steps: float = 1) -> None:
        """Move on by ``steps``."""
        self._progress.advance(self._task, steps)

    def note(self, text: str) -> None:
        """Show ``text`` at the bar's end."""
        self._progress.update(self._task, note=text)


@contextmanager
def progress_bar(title: str, total: float, *, done: int = 0) -> Iterator[Bar]:
    """A bar with count, elapsed and remaining time; drawn only on a terminal, one closing line elsewhere."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeLeft(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=console, transient=False) as progress:
        yield Bar(progress, progress.add_task(title, total=total, completed=done, note=""))
