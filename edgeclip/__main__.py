"""The program: the commands, and a quick end of one that was interrupted."""

from __future__ import annotations

import contextlib
import os
import signal
import sys

from .base.interrupts import listen


def main() -> None:
    """Run the command that the command line names.

    One that was interrupted ends at once, when what it held is put away: an interpreter that has loaded torch would
    take a second to take itself apart. Nor is what an interruption breaks a bug, as an import that is half done.
    """
    interrupted = listen()
    for name in ("stdout", "stderr"):  # None where the shell has closed it: `>&-`
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123
    # Of torch's threads: on a busy machine one that spins at a barrier keeps its own partner from the core. libgomp
    # reads it once, when torch is loaded; the figures are in benchmarks/results/waiting_threads.json.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        from .cli import INTERRUPTED, TERMINATED
        from .cli import main as commands

        commands(prog_name="edgeclip")
        return
    except SystemExit as ended:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if ended.code not in (INTERRUPTED, TERMINATED) and not (interrupted.is_set() and ended.code):
            raise  # also of one that was cut and still gives what it has, as a probe does
        status = TERMINATED if ended.code == TERMINATED else INTERRUPTED
    except BaseException:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if not interrupted.is_set():
            raise
        print("edgeclip: interrupted", file=sys.stderr)
        status = 128 + signal.SIGINT
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # nobody may be reading any more
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
