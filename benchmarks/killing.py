"""A training that is killed at random and gone on with: do its weights equal those of one that was not?

    python benchmarks/killing.py --kills 100

A short run (a tiny student of the demo's teacher; with ``--tower`` one with batch norms) is cut by SIGKILL, SIGINT or
SIGTERM at a random moment (most while it trains, some while it starts), gone on with by ``edgeclip distill --resume``,
cut again, until so many cuts were made, and let run to its end. Then its student's weights are compared, byte by byte,
with those of the run that nobody cut.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
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

VIT = {"vision_cfg": {"image_size": 32, "patch_size": 16, "width": 32, "layers": 1, "head_width": 32}}
BATCH_NORM = {"timm": "mobilenetv4_conv_small_050", "image_size": 64}
HEEDED = 5.0  # seconds from a signal to the end, at most
STARTING = 0.2  # of the cuts come before the first step, or with it
STEPS = 8  # at most, between other cuts
SIGNALS = {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}
WEIGHTS = "student/open_clip_model.safetensors"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}  # sums in one order


def prepare(folder: Path, spec: dict[str, Any], epochs: int) -> list[str]:
    """Data and settings; the words that begin a run, but for its folder."""
    draw = np.random.default_rng(0)
    (folder / "images").mkdir()
    for number in range(64):
        Image.fromarray(draw.integers(0, 256, (64, 64, 3), np.uint8)).save(folder / f"images/{number}.png")
    (folder / "texts.txt").write_text("\n".join(f"a picture of {number} things" for number in range(64)))
    (folder / "spec.json").write_text(json.dumps(spec))
    settings = f'epochs = {epochs}\nbatch_size = 16\nviews = 2\ncheckpoint_seconds = 0\ntracker = "none"\n'
    (folder / "config.toml").write_text(settings)
    inputs = ["--images", "images", "--texts", "texts.txt", "--spec", "spec.json", "--config", "config.toml"]
    return ["distill", "--profile", "x86-avx2-2core", "--teacher", "demo", *inputs, "--store", "store"]


def edgeclip(words: list[str], folder: Path) -> subprocess.Popen[str]:
    """Start a command."""
    command = [sys.executable, "-m", "edgeclip", *words]
    hears = partial(signal.signal, signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    settings: dict[str, Any] = {"stderr": subprocess.PIPE, "text": True, "preexec_fn": hears}
    return subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, **settings)


def written(folder: Path) -> int:
    """When the run was last put away, which is after each step; 0 where it never was, or is just being."""
    try:
        return (folder / "cut/checkpoint.safetensors").stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def cut(words: list[str], folder: Path, draw: random.Random) -> signal.Signals | None:
    """Kill it after some steps, however long these take; the signal, or None where it had ended by itself."""
    process = edgeclip(words, folder)
    starting = draw.random() < STARTING
    steps, end = (1, time.monotonic() + draw.uniform(0.5, 5)) if starting else (draw.randint(1, STEPS), math.inf)
    seen = written(folder)
    while steps and process.poll() is None and time.monotonic() < end:
        time.sleep(0.002)
        now = written(folder)
        if now not in (0, seen):
            seen, steps = now, steps - 1
    time.sleep(draw.uniform(0, 0.05))  # on into a step
    number = draw.choice(list(SIGNALS))
    if process.poll() is not None:
        _, told = process.communicate()
        if process.returncode:
            raise SystemExit(f"it failed by itself: {told}")
        return None
    process.send_signal(number)
    sent = time.monotonic()
    _, told = process.communicate()
    if time.monotonic() - sent > HEEDED:
        raise SystemExit(f"signal {number} was not heeded: {told}")
    if process.returncode not in (SIGNALS[number], -number if starting else 0, 0):
        raise SystemExit(f"signal {number}: status {process.returncode}: {told}")
    return number if process.returncode else None


def main() -> None:
    """Kill, go on, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=400)
    parser.add_argument("--tower", choices=["vit", "batch-norm"], default="vit")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    draw, counts = random.Random(given.seed), dict.fromkeys(("SIGKILL", "SIGINT", "SIGTERM"), 0)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        begin = prepare(folder, VIT if given.tower == "vit" else BATCH_NORM, given.epochs)
        whole = edgeclip([*begin, "--out", "whole"], folder)
        _, told = whole.communicate()
        if whole.returncode:
            raise SystemExit(told)
        words = [*begin, "--out", "cut"]
        while sum(counts.values()) < given.kills:
            number = cut(words, folder, draw)
            if number is None:
                raise SystemExit(f"it ended after {sum(counts.values())} cuts: give it more --epochs")
            counts[number.name] += 1
            if (folder / "cut/run.json").is_file():
                words = ["distill", "--resume", "cut"]
        last = edgeclip(words, folder)
        _, told = last.communicate()
        if last.returncode:
            raise SystemExit(told)
        equal = (folder / "whole" / WEIGHTS).read_bytes() == (folder / "cut" / WEIGHTS).read_bytes()
    print(f"{given.tower}: {sum(counts.values())} cuts ({counts}), weights {'equal' if equal else 'DIFFERENT'}")
    if given.kills >= 100:
        name = f"killing_{given.tower.replace('-', '_')}"
        results.save(name, {"kills": counts, "epochs": given.epochs, "equal": equal})
    if not equal:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
