"""Ctrl-C, and SIGTERM: never lost, never where they would do harm.

A KeyboardInterrupt is raised wherever Python is at: what calls Python from C (``hasattr``, an import's callbacks) may
forget it, a step of a training would be left half done, and C++ would abort.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from .errors import Terminated

T = TypeVar("T")
INSIST = 0.5  # seconds until an interruption comes again
SOON = 0.02  # where it has to wait
PATIENCE = 0.8  # for how long it does
AT_ONCE = 1e-5  # seconds that another thread may go on when this one wants to
_pending = threading.Event()  # an interruption came that nothing has heeded


def listen() -> threading.Event:
    """Have Ctrl-C raise KeyboardInterrupt again and again, until it is being handled or :func:`heeded`.

    It waits for a torch that is being loaded: that begins with C++, which would abort. Where whoever started this
    process wants no interruptions, none are listened for.

    Returns:
        What is set when one came.
    """
    again, first = False, 0.0

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal again, first
        insisting, again = again, False
        first = first if _pending.is_set() else time.monotonic()
        _pending.set()
        wait = _torch_is_loading() and time.monotonic() - first < PATIENCE
        timer = threading.Timer(SOON if wait else INSIST, insist)
        timer.daemon = True
        timer.start()
        if wait:
            return
        if not insisting or not _being_handled(sys.exc_info()[1]):
            raise KeyboardInterrupt

    def insist() -> None:
        nonlocal again
        if _pending.is_set():
            again = True
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)  # wakes it, too

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler and hasattr(signal, "pthread_kill"):
        signal.signal(signal.SIGINT, interrupt)
    return _pending


def heeded() -> None:
    """The work was cut where the interruption wanted it, and goes on from there."""
    _pending.clear()


def _torch_is_loading() -> bool:
    spec = getattr(sys.modules.get("torch"), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))  # importlib's own mark


def _being_handled(error: BaseException | None) -> bool:
    """Whether it is a KeyboardInterrupt, or came of one; a SystemExit is what the commands make of it."""
    while error is not None and not isinstance(error, (KeyboardInterrupt, SystemExit)):
        error = error.__context__
    return error is not None


def aside(work: Callable[[], T]) -> T:
    """Do ``work`` in a thread of its own, and wait for it: an interruption then ends the waiting.

    Torch's exporter calls Python from C++ at every operator; a KeyboardInterrupt there ends in ``std::terminate``.
    """
    from concurrent.futures import Future

    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:
            result.set_exception(error)

    try:
        threading.Thread(target=run, daemon=True).start()
        return result.result()
    except KeyboardInterrupt:
        sys.setswitchinterval(AT_ONCE)  # the work goes on until the program ends, and must not hold that up
        raise


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
