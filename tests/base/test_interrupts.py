"""Ctrl-C is held until work may stop, and is never lost."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from edgeclip.base.errors import Terminated
from edgeclip.base.interrupts import aside, heeded, held_interrupts, listen


def test_it_waits_for_the_end_of_the_step():
    done = []
    with pytest.raises(KeyboardInterrupt), held_interrupts() as stop_here:
        stop_here()
        os.kill(os.getpid(), signal.SIGINT)
        done.append("the step goes on")
        stop_here()
        done.append("the next one begins")
    assert done == ["the step goes on"]


def test_the_end_of_a_job_is_told_from_ctrl_c():
    with pytest.raises(Terminated), held_interrupts() as stop_here:
        os.kill(os.getpid(), signal.SIGTERM)
        stop_here()


def test_it_is_not_lost_where_an_exception_would_be_swallowed():
    class Swallows:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGINT)  # an exception raised in here is printed and forgotten

    with pytest.raises(KeyboardInterrupt), held_interrupts() as stop_here:
        Swallows()
        stop_here()


def test_afterwards_the_old_handler_is_back():
    before = signal.getsignal(signal.SIGINT)
    with held_interrupts():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_in_another_thread_nothing_is_held():
    found = []

    def work():
        with held_interrupts() as stop_here:
            stop_here()
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    before = signal.getsignal(signal.SIGINT)
    thread.start()
    thread.join()
    assert found == [before]


def test_work_aside_gives_what_it_found_or_its_error():
    assert aside(lambda: threading.current_thread() is threading.main_thread()) is False
    with pytest.raises(ZeroDivisionError):
        aside(lambda: 1 / 0)


def test_an_interruption_does_not_strike_in_work_that_is_aside():
    struck, done = threading.Event(), threading.Event()

    def work():
        os.kill(os.getpid(), signal.SIGINT)
        struck.wait(60)
        done.set()

    handler, before = signal.signal(signal.SIGINT, signal.default_int_handler), sys.getswitchinterval()
    listen()  # what happens to be at work in the main thread, a destructor say, may forget the first
    try:
        with pytest.raises(KeyboardInterrupt):
            aside(work)
        heeded()
        assert sys.getswitchinterval() < before, "whoever ends the program is served before that work"
    finally:
        signal.signal(signal.SIGINT, handler)
        sys.setswitchinterval(before)
        struck.set()
    assert done.wait(60), "it went on"


ENDING = """
import os, signal, sys, time
from edgeclip.base.interrupts import listen
signal.signal(signal.SIGINT, signal.default_int_handler)
listen()
try:
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
    except KeyboardInterrupt:
        pass
    sys.exit(130)
except SystemExit:
    time.sleep(1.2)  # what was held is put away, for longer than an interruption waits before it comes again
    print("ended")
"""


def test_an_insisting_interruption_leaves_the_end_of_the_program_alone():
    done = subprocess.run([sys.executable, "-c", ENDING], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("ended\n", 0), done.stderr


LOADING = """
import os, signal, time
os.kill(os.getpid(), signal.SIGINT)
time.sleep(0.3)
print("torch is loaded")
"""
IMPORTING = """
import signal, time
from edgeclip.base.interrupts import listen
signal.signal(signal.SIGINT, signal.default_int_handler)
listen()
try:
    import torch
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_an_interruption_waits_while_torch_loads_and_comes_at_once_thereafter(tmp_path):
    (tmp_path / "torch.py").write_text(LOADING)  # stands in for the real one, which could not be struck so surely
    here = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", IMPORTING], capture_output=True, text=True, check=False, env=here)
    assert (done.stdout, done.returncode) == ("torch is loaded\ninterrupted\n", 0), done.stderr
