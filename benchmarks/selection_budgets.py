"""Does the selected student meet its budget, and is little of the budget left lying? Ten budgets over the range.

    python benchmarks/selection_budgets.py --profile FILE [--minutes 7]

For each budget: the student that selection by prediction names, and the least better one on the front that it passed
over for being too slow; both are exported and measured beside the reference. A budget is a p90, so a measured p50 is
held against it with the profile's own p90 / p50. Also timed: selection over the whole space, and the command from
start to finish. What is measured already is kept in ``--work``; call it again to go on.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import results
from latency_prediction import exported, opened

from edgeclip.profiling.costmodel import tail
from edgeclip.profiling.probe import take_turn
from edgeclip.profiling.probekit import Kit
from edgeclip.profiling.schema import Budget, Profile
from edgeclip.profiling.store import load_profile
from edgeclip.runtime.engines.registry import find_engine
from edgeclip.selection.select import CandidateTable, select, spec_of, survey
from edgeclip.towers.spec import StudentSpec

BUDGETS, FASTEST, SLOWEST = 10, 1.5, 60.0  # ms, evenly spaced in logarithms
TURNS = 7
TIMID = 0.15  # of a budget that may be left lying


def main() -> None:
    """Select, export, measure, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("build/selection-budgets"))
    parser.add_argument("--minutes", type=float, default=7)
    args = parser.parse_args()
    deadline = time.monotonic() + 60 * args.minutes
    profile = load_profile(args.profile)
    candidates = survey(profile)
    limits = np.round(np.geomspace(FASTEST, SLOWEST, BUDGETS), 2).tolist()
    pairs = [(limit, chosen(profile, limit), passed_over(profile, candidates, limit)) for limit in limits]
    specs = list({f"{s.name} {s.precision}": s for _, *both in pairs for s in both if s}.values())
    fp32 = [s.model_copy(update={"precision": "fp32"}) for s in specs if s.precision == "int8"]
    if not exported([*fp32, *specs], args.work, deadline):
        return
    measured = measure(specs, profile, args.work, deadline)
    if measured is None:
        return
    rows = [row(profile, measured, *pair) for pair in pairs]
    for r in rows:
        print(
            f"{r['budget_ms']:6.2f} ms  {r['student']:34} {r['precision']}  measured {r['measured_ms']:6.2f} ms  "
            f"{'met' if r['met'] else 'MISSED'}  passed over: {r['passed_over']}, {r['passed_over_of_budget']}"
        )
    met = sum(r["met"] for r in rows)
    timid = [r["budget_ms"] for r in rows if r["timid"]]
    seconds, command = timed(profile), timed_command(args.profile)
    print(f"{met} of {len(rows)} budgets met; more than {TIMID:.0%} left lying at: {timid or 'none'}")
    pairs = len(candidates) * len(candidates[0].space)
    print(f"selection over {pairs} pairs: {seconds:.2f} s; the command: {command:.2f} s")
    found = {"met": met, "timid": timid, "selection_seconds": seconds, "command_seconds": command, "budgets": rows}
    results.save(
        "selection_budgets", {"profile": profile.name, "pairs": len(candidates) * len(candidates[0].space), **found}
    )


def chosen(profile: Profile, limit: float) -> StudentSpec:
    """What selection by prediction alone names."""
    return select(profile, Budget(latency_ms=limit), top=1)[0]


def passed_over(profile: Profile, candidates: list[CandidateTable], limit: float) -> StudentSpec | None:
    """Of those that score higher and were predicted to be too slow, the one that was nearest to fit."""
    best = chosen(profile, limit).score or 0
    nearest: tuple[float, CandidateTable, int] | None = None
    for offer in candidates:
        better = np.flatnonzero((offer.score > best) & (offer.p90_ms > limit) & np.isfinite(offer.p90_ms))
        if len(better):
            found = int(better[offer.p90_ms[better].argmin()])
            if nearest is None or offer.p90_ms[found] < nearest[0]:
                nearest = (float(offer.p90_ms[found]), offer, found)
    return spec_of(profile, nearest[1], nearest[2]) if nearest else None


def measure(specs: list[StudentSpec], profile: Profile, work: Path, deadline: float) -> dict[str, float] | None:
    """p50 of each, in ms of the profile's reference: the median of some turns; None where the time was too short."""
    file = work / "turns.json"
    turns: dict[str, list[float]] = json.loads(file.read_text()) if file.is_file() else {}
    with Kit() as kit:
        reference = kit.open(kit.reference, find_engine(), threads=profile.runtime.threads)
        for number in range(TURNS):
            for spec in specs:
                taken = turns.setdefault(f"{spec.name} {spec.precision}", [])
                if len(taken) > number:
                    continue
                if time.monotonic() > deadline:
                    print(f"turn {number + 1} of {TURNS}: call it again to go on")
                    return None
                own, beside = take_turn(reference, opened(spec, profile.runtime.threads, work))
                taken.append(own.p50 / beside.p50)
                file.write_text(json.dumps(turns))
    return {name: profile.reference.p50_ms * float(np.median(taken)) for name, taken in turns.items()}


def row(
    profile: Profile, measured: dict[str, float], limit: float, spec: StudentSpec, neighbour: StudentSpec | None
) -> dict[str, Any]:
    """One budget."""

    def p90(student: StudentSpec) -> float:
        return measured[f"{student.name} {student.precision}"] * tail(profile, student.precision)

    lying = 1 - p90(neighbour) / limit if neighbour else 0.0
    return {
        "budget_ms": limit,
        "student": spec.name,
        "precision": spec.precision,
        "predicted_ms": spec.predicted_ms,
        "measured_ms": measured[f"{spec.name} {spec.precision}"],
        "measured_p90_ms": p90(spec),
        "met": p90(spec) <= limit,
        "passed_over": neighbour.name if neighbour else None,
        "passed_over_of_budget": f"{1 - lying:.0%} of the budget" if neighbour else "there is none",
        "timid": lying > TIMID,
    }


def timed(profile: Profile) -> float:
    """Seconds for one selection over the whole space, in a process that has done nothing yet."""
    code = (
        "import sys, time; from edgeclip.profiling.schema import Budget, Profile; from pathlib import Path\n"
        "from edgeclip.base.files import read_document; from edgeclip.selection.select import select\n"
        "profile = read_document(Path(sys.argv[1]), Profile); start = time.perf_counter()\n"
        "select(profile, Budget(latency_ms=20)); print(time.perf_counter() - start)"
    )
    file = Path("build/selection-budgets/profile.toml")
    profile.save(file)
    done = [subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True) for _ in range(3)]
    return float(np.median([float(one.stdout) for one in done]))


def timed_command(profile: Path) -> float:
    """Seconds from start to finish of ``edgeclip select``, the median of three."""
    took = []
    for _ in range(3):
        start = time.perf_counter()
        command = [sys.executable, "-m", "edgeclip", "select", "--profile", str(profile), "--latency-ms", "20"]
        subprocess.run(command, check=True, capture_output=True)
        took.append(time.perf_counter() - start)
    return float(np.median(took))


if __name__ == "__main__":
    main()
