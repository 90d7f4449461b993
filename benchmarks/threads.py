"""What do threads beyond a process's share of the cores cost? One core, the reference graph, threads of old and new.

    python benchmarks/threads.py

The process is bound to one core. The probe kit's reference graph is opened with as many threads as the machine has
cores, as it was by default before cores were counted by affinity, and with ``usable_cores()``; both run in turns.
"""

from __future__ import annotations

import os

from results import save

from edgeclip.profiling.probekit import Kit
from edgeclip.runtime.cores import usable_cores
from edgeclip.runtime.engines.registry import find_engine
from edgeclip.runtime.timing import interleaved

SECONDS = 20.0


def main() -> None:
    """Print the ratio, and write results/threads.json."""
    machine = os.cpu_count() or 1
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    with Kit() as kit:
        counts = {"machine": machine, "usable": usable_cores()}
        runs = {name: kit.open(kit.reference, find_engine(), threads=threads) for name, threads in counts.items()}
        found = interleaved(runs, seconds=SECONDS)
    ms = {name: samples.p50 for name, samples in found.items()}
    print(f"{counts}: p50 {ms}, {ms['machine'] / ms['usable']:.2f} times as long with the machine's threads")
    save("threads", {"threads": counts, "p50_ms": ms, "ratio": ms["machine"] / ms["usable"]})


if __name__ == "__main__":
    main()
