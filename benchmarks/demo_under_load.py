"""Does the demo keep its promises on a busy, small or slow machine? Exit 0, nine tenths kept, how many minutes?

    python benchmarks/demo_under_load.py --out runs/loaded [--only busy core half]

``busy``: two processes beside it that do nothing but count. ``core``: on one core. ``half``: half of one core, by a
control group, which takes root. Each runs ``edgeclip demo`` from nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import results

from edgeclip.base.documents import read_document
from edgeclip.chain.demo.criteria import KEPT
from edgeclip.reporting.schema import Report

COUNT = [sys.executable, "-c", "while True: pass"]
CASES = {"busy": "{}", "core": "taskset -c 0 {}", "half": "echo $$ > %s/cgroup.procs && exec taskset -c 1 {}"}
GROUPS, PERIOD = Path("/sys/fs/cgroup"), 100_000  # microseconds


@contextlib.contextmanager
def beside(count: int) -> Iterator[None]:
    """So many processes that keep a core busy each."""
    running = [subprocess.Popen(COUNT) for _ in range(count)]
    try:
        yield
    finally:
        for one in running:
            one.kill()
            one.wait()


def half_a_core() -> Path:
    """A control group whose processes together get half of one core."""
    first = not (GROUPS / "cgroup.controllers").is_file()  # of the two kinds of control groups
    group = GROUPS / ("cpu/edgeclip-half" if first else "edgeclip-half")
    group.mkdir(exist_ok=True)
    if first:
        (group / "cpu.cfs_period_us").write_text(str(PERIOD))
        (group / "cpu.cfs_quota_us").write_text(str(PERIOD // 2))
    else:
        (group / "cpu.max").write_text(f"{PERIOD // 2} {PERIOD}")
    return group


def demo(name: str, out: Path) -> dict[str, Any]:
    """One run, and what came of it."""
    command = f"{shlex.quote(sys.executable)} -m edgeclip demo --out {shlex.quote(str(out))}"
    environment = {**os.environ, "EDGECLIP_CACHE": f"{out}-cache"}  # nothing of another run's
    start = time.monotonic()
    line = CASES[name].format(command)
    if name == "half":
        line %= half_a_core()
    with beside(2 if name == "busy" else 0), Path(f"{out}.log").open("wb") as log:
        done = subprocess.run(line, shell=True, stdout=log, stderr=log, env=environment, check=False)
    facts: dict[str, Any] = {"exit": done.returncode, "minutes": round((time.monotonic() - start) / 60, 1)}
    report = read_document(out / "report.json", Report)
    kept = next(line for line in report.criteria if line.name == KEPT)
    still_open = [line.name for line in report.criteria if line.met is None]
    missed = [line.name for line in report.criteria if line.met is False]
    return facts | {"kept": kept.measured, "not decided": still_open, "missed": missed, "cautions": report.cautions}


def main() -> None:
    """Run them, one after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    before = results.FOLDER / "demo_under_load.json"
    found = json.loads(before.read_text())["cases"] if before.is_file() else {}
    for name in asked.only:
        found[name] = demo(name, asked.out.absolute() / name)
        print(name, found[name], flush=True)
        results.save("demo_under_load", {"cases": found})


if __name__ == "__main__":
    main()
