"""Where towers are measured: here, or on a device that is reached from here."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..runtime.turns import Contender
from .bench import Plan, Step, bench
from .job import verify_bundle

WORKER = [sys.executable, "-m", "edgeclip.runtime.worker"]


class Place(Protocol):
    """A device that measures. Both methods may raise an EdgeclipError when it cannot be reached."""

    name: str
    local: bool  # towers of this process (torch models) can take turns there

    def bench(
        self, plan: Plan, out: Path, *, beside: Mapping[str, Contender] | None = None, on_step: Step | None = None
    ) -> dict[str, Any]:
        """As :func:`edgeclip.device.bench.bench`; the embeddings are in ``out`` afterwards."""
        ...

    def verify(self, bundle: Path, *, threads: int | None = None, on_step: Step | None = None) -> dict[str, Any]:
        """As :func:`edgeclip.device.job.verify_bundle`."""
        ...


class Here:
    """This machine."""

    name, local = "this machine", True

    def bench(
        self, plan: Plan, out: Path, *, beside: Mapping[str, Contender] | None = None, on_step: Step | None = None
    ) -> dict[str, Any]:
        """Measure in processes of this installation."""
        return bench(plan, command=WORKER, out=out, beside=beside, on_step=on_step)

    def verify(self, bundle: Path, *, threads: int | None = None, on_step: Step | None = None) -> dict[str, Any]:
        """Verify in processes of this installation."""
        return verify_bundle(bundle, WORKER, threads=threads)


@contextmanager
def open_place(address: str | None) -> Iterator[Place]:
    """This machine for None; else ``ssh://[user@]host[:port][/python]`` or ``adb://SERIAL[/python]``.

    Raises:
        MissingExtra: the packages of ``edgeclip[remote]`` are not installed.
        EdgeclipError: the address cannot be read, or the device cannot be reached or used.
    """
    if address is None:
        yield Here()
        return
    from .remote import open_remote

    with open_remote(address) as place:
        yield place


def embeddings(found: Mapping[str, Any], plan: Plan, out: Path) -> dict[str, tuple[NDArray[np.float32], list[int]]]:
    """What each tower made of ``plan.images``: float32 ``[images, D]``, and the numbers of unreadable ones."""
    there = {}
    for number, name in enumerate(plan.towers):
        if told := found["rows"][name].get("embeds"):
            there[name] = (np.load(out / f"{number}.npy", allow_pickle=False), told["broken"])
    return there
