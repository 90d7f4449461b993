"""Ctrl-C, and SIGTERM, between two steps: within one they may be swallowed, or leave a step half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..errors import Terminated


@contextmanager
def held_interrupts() -> Iterator[Callable[[], None]]:
    """Yield what raises KeyboardInterrupt, or Terminated, if either came since: to be called where work may stop.

    Signals belong to the main thread: in another one nothing is held back.
    """
    came: list[type[KeyboardInterrupt]] = []

    def stop_here() -> None:
        if came:
            raise came[0]

    if threading.current_thread() is not threading.main_thread():
        yield stop_here
        return
    kinds = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Terminated}
    before = {number: signal.signal(number, lambda *_, kind=kind: came.append(kind)) for number, kind in kinds.items()}
    try:
        yield stop_here
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
