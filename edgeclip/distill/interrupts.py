"""Ctrl-C between two steps: raised within one, it may come where it is swallowed, or leave a step half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def held_interrupts() -> Iterator[Callable[[], None]]:
    """Yield what raises KeyboardInterrupt if Ctrl-C was pressed since: to be called where work may stop.

    Signals belong to the main thread: in another one nothing is held back.
    """
    pressed = threading.Event()

    def stop_here() -> None:
        if pressed.is_set():
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield stop_here
        return
    before = signal.signal(signal.SIGINT, lambda *_: pressed.set())
    try:
        yield stop_here
    finally:
        signal.signal(signal.SIGINT, before)
