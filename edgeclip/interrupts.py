"""Ctrl-C, and SIGTERM, where they may come.

Between two steps of a training, for within one they may be swallowed, or leave it half done; and not in the middle of
what calls Python from C++, which they would abort.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeVar

from .errors import Terminated

T = TypeVar("T")


def aside(work: Callable[[], T]) -> T:
    """Do ``work`` in a thread of its own, and wait for it: an interruption then ends the waiting.

    Torch's exporter calls Python from C++ at every operator; a KeyboardInterrupt there ends in ``std::terminate``.
    """
    found: Future[T] = Future()

    def run() -> None:
        try:
            found.set_result(work())
        except BaseException as error:
            found.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return found.result()


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
