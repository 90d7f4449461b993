"""How long does a command go on after Ctrl-C? Each is interrupted again and again, at times spread over its run.

    python benchmarks/interrupts.py

Interrupted as a terminal does it: the signal goes to the command and to all that it has started. Asked for: every
command ends within a second, with status 130, without a traceback, and leaves nothing half-written. A training ends
after the step that it is at.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import results
from PIL import Image

from edgeclip.base.folders import LOCK, SCRATCH

TIMES = 8
LONGEST = 16.0  # seconds in which they are spread


def write_data(folder: Path) -> None:
    """Pictures, sentences, labelled pictures, and a bundle of the demo's teacher."""
    draw = np.random.default_rng(0)
    for kind in ("images", "testset/a", "testset/b"):
        (folder / kind).mkdir(parents=True)
        for number in range(60):
            Image.fromarray(draw.integers(0, 256, (80, 80, 3), np.uint8)).save(folder / kind / f"{number}.png")
    (folder / "texts.txt").write_text("\n".join(f"a picture of {number} things" for number in range(200)))
    (folder / "config.toml").write_text('epochs = 10000\nbatch_size = 20\ntracker = "none"\n')
    subprocess.run(command("export demo --calibration images --out bundle"), cwd=folder, check=True)


def command(words: str) -> list[str]:
    """The process that runs it."""
    return [sys.executable, "-m", "edgeclip", *words.split()]


COMMANDS = {
    "profile": "profile mine --out new.toml --seconds 20",
    "select": "select --profile x86-avx2-2core --latency-ms 3",
    "distill": "distill --profile raspberry-pi-5 --latency-ms 5 --teacher demo --images images --texts texts.txt"
    " --config config.toml --out new",
    "export": "export demo --calibration images --out new",
    "export with an exam": "export demo --calibration images --dataset testset --out new",
    "verify": "verify bundle",
    "measure": "measure bundle --dataset testset",
    "eval": "eval demo --dataset testset",
    "classify": "classify bundle images --labels red,green,blue",
}


ENDS = {"profile": (130, 0)}  # of graphs enough, one of those that were measured is written


def as_it_should(name: str, cut: dict[str, Any]) -> bool:
    """Whether a command ended as one that was interrupted."""
    return cut["status"] in ENDS.get(name, (130,)) and "Traceback" not in cut["told"] and not cut["half"]


def seconds_of(words: str, folder: Path) -> float:
    """How long the command takes, as far as that matters."""
    began = time.monotonic()
    interrupt(words, folder, LONGEST)
    return min(LONGEST, time.monotonic() - began)


def interrupt(words: str, folder: Path, after: float) -> dict[str, Any] | None:
    """Run, interrupt after so many seconds, and see; None where it was over by then."""
    before = set(folder.rglob("*"))
    heard = partial(signal.signal, signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    settings: dict[str, Any] = {"stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    started = subprocess.Popen(command(words), cwd=folder, preexec_fn=heard, **settings)
    with contextlib.suppress(subprocess.TimeoutExpired):
        started.wait(after)
    over, began = started.poll() is not None, time.monotonic()
    if not over:
        os.killpg(started.pid, signal.SIGINT)
    _, told = started.communicate()
    seconds = time.monotonic() - began
    left = [str(one.relative_to(folder)) for one in set(folder.rglob("*")) - before]
    for one in folder.glob("new*"):
        shutil.rmtree(one) if one.is_dir() else one.unlink()
    if over or (not started.returncode and "wrote new" not in told):  # it had given what it has, and was leaving
        return None
    half = [name for name in left if Path(name).name in (LOCK, SCRATCH)]
    return {
        "after": round(after, 2),
        "seconds": round(seconds, 2),
        "status": started.returncode,
        "half": half,
        "told": told,
    }


def main() -> None:
    """Interrupt everything, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(COMMANDS))
    parser.add_argument("--times", type=int, default=TIMES, help="interruptions of each command")
    asked = parser.parse_args()
    only, times = asked.only, asked.times
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_data(folder)
        for name, words in COMMANDS.items():
            if only not in (None, name):
                continue
            length = seconds_of(words, folder)
            cuts = [interrupt(words, folder, length * (number + 0.5) / times) for number in range(times)]
            own = [cut for cut in cuts if cut]
            wrong = [cut for cut in own if not as_it_should(name, cut)]
            for cut in wrong:
                print(f"{name}, after {cut['after']} s: {cut}")
            found[name] = {
                "interrupted": len(own),
                "longest_seconds": max((cut["seconds"] for cut in own), default=None),
                "seconds": [cut["seconds"] for cut in own],
                "as_it_should": not wrong,
                **({"wrong": [{**cut, "told": cut["told"][-500:]} for cut in wrong]} if wrong else {}),
            }
            print(name, found[name])
    if only is None:
        results.save("interrupts", {"commands": found})


if __name__ == "__main__":
    main()
