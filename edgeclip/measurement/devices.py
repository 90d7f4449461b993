"""Where towers are measured: here, or on a device that is reached from here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..base.console import progress_bar
from ..runtime.golden import PartCheck
from ..runtime.towerjob import AS_TARGET, RuntimeOptions
from ..runtime.turns import WORKER, Contender
from .bench import Plan, Step, bench
from .job import verify_bundle
from .results import BenchResult


class MeasuringDevice(Protocol):
    """A device that measures. Both methods may raise an EdgeclipError when it cannot be reached."""

    name: str
    local: bool  # towers of this process (torch models) can take turns there

    def bench(
        self, plan: Plan, out: Path, *, beside: Mapping[str, Contender] | None = None, on_step: Step | None = None
    ) -> BenchResult:
        """As :func:`edgeclip.measurement.bench.bench`; the embeddings are in ``out`` afterwards."""
        ...

    def verify(
        self, bundle: Path, options: RuntimeOptions = AS_TARGET, *, on_step: Step | None = None
    ) -> list[PartCheck]:
        """As :func:`edgeclip.measurement.job.verify_bundle`."""
        ...


class ThisMachine:
    """This machine."""

    name, local = "this machine", True

    def bench(
        self, plan: Plan, out: Path, *, beside: Mapping[str, Contender] | None = None, on_step: Step | None = None
    ) -> BenchResult:
        """Measure in processes of this installation."""
        return bench(plan, command=WORKER, out=out, beside=beside, on_step=on_step)

    def verify(
        self, bundle: Path, options: RuntimeOptions = AS_TARGET, *, on_step: Step | None = None
    ) -> list[PartCheck]:
        """Verify in processes of this installation."""
        return verify_bundle(bundle, WORKER, options)


@contextmanager
def open_device(address: str | None) -> Iterator[MeasuringDevice]:
    """This machine for None; else ``ssh://[user@]host[:port][/python]`` or ``adb://SERIAL[/python]``.

    Raises:
        EdgeclipError: the address cannot be read, or the device cannot be reached or used.
    """
    if address is None:
        yield ThisMachine()
        return
    from .remote import open_remote

    with open_remote(address) as machine:
        yield machine


@contextmanager
def device_steps(title: str) -> Iterator[Step]:
    """A progress bar over the steps that a device announces."""
    with progress_bar(title, 100, unit="%") as bar:
        shown = 0.0

        def tell(text: str, done: int, steps: int) -> None:
            nonlocal shown
            bar.note(text)
            bar.advance(100 * done / steps - shown)
            shown = 100 * done / steps

        yield tell
        tell("", 1, 1)


def embeddings(results: BenchResult, plan: Plan, out: Path) -> dict[str, tuple[NDArray[np.float32], list[int]]]:
    """What each tower made of ``plan.images``: float32 ``[images, D]``, and the numbers of unreadable ones.

    A row whose embeddings are none (NaN, or not as many as images) has ``failed``.
    """
    there = {}
    for number, name in enumerate(plan.towers):
        row = results.rows[name]
        if row.embeds:
            embeds = _embeddings(out / f"{number}.npy", len(plan.images))
            if embeds is None:
                row.failed = "its embeddings hold NaN or infinity, or are not as many as images"
            else:
                there[name] = (embeds, row.embeds.broken)
    return there


def _embeddings(file: Path, images: int) -> NDArray[np.float32] | None:
    try:
        embeds = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    whole = isinstance(embeds, np.ndarray) and embeds.dtype == np.float32 and embeds.ndim == 2 and len(embeds) == images
    return embeds if whole and np.isfinite(embeds).all() else None
