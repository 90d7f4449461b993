"""How long should torch's threads spin at a barrier before they sleep? Training and inference, quiet and busy.

    python benchmarks/waiting_threads.py [--seconds 6] [--rounds 3]

A thread that spins while another process wants its core keeps that process, and so its own partner, from the core.
Each setting of ``GOMP_SPINCOUNT`` runs in a process of its own, in turns with the others: libgomp reads it once, when
torch is loaded. ``busy``: as many processes as cores beside it, that do nothing but count.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from collections import defaultdict

import results
from demo_under_load import beside

SPINS = (None, 0, 1_000, 10_000)  # None: libgomp's own
WORK = """
import sys, time, torch
from torch import nn
torch.set_num_threads({threads})
tower = nn.Sequential(*[nn.TransformerEncoderLayer(256, 4, 1024, batch_first=True) for _ in range(6)])
train, seconds = sys.argv[1] == "train", float(sys.argv[2])
tokens = torch.randn(32 if train else 1, 65, 256)
optimizer = torch.optim.AdamW(tower.parameters())
tower.train(train)
def step():
    if not train:
        with torch.inference_mode():
            return tower(tokens)
    tower(tokens).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
step(), step()
start, count = time.perf_counter(), 0
while time.perf_counter() - start < seconds:
    step()
    count += 1
print(count / (time.perf_counter() - start))
"""


def rate(spins: int | None, what: str, seconds: float, threads: int) -> float:
    """Steps a second in a fresh process."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    }
    if spins is not None:
        environment["GOMP_SPINCOUNT"] = str(spins)
    command = [sys.executable, "-c", WORK.format(threads=threads), what, str(seconds)]
    return float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Measure all, in turns; the figures are over libgomp's own setting of the same round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    threads, found = len(os.sched_getaffinity(0)), defaultdict(list)
    for number in range(given.rounds):
        print(f"round {number + 1} of {given.rounds}", flush=True)
        for load, count in (("quiet", 0), ("busy", threads)):
            for what in ("train", "infer"):
                with beside(count):
                    for spins in SPINS:
                        found[what, load, spins].append(rate(spins, what, given.seconds, threads))
    told = {}
    for (what, load, spins), rates in found.items():
        own = found[what, load, None]
        ratios = [mine / base for mine, base in zip(rates, own, strict=True)]
        name = "libgomp's own" if spins is None else str(spins)
        told.setdefault(f"{what}, {load}", {})[name] = {
            "steps_a_second": round(statistics.median(rates), 3),
            "over_own": round(statistics.median(ratios), 3),
            "range": [round(min(ratios), 3), round(max(ratios), 3)],
        }
        print(f"{what:6} {load:6} {name:14} {told[f'{what}, {load}'][name]}", flush=True)
    results.save("waiting_threads", {"threads": threads, **told})


if __name__ == "__main__":
    main()
