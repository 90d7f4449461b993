"""How well does a profile predict students that it never saw? Real exports, measured beside the reference.

    python benchmarks/latency_prediction.py [--profile FILE] [--minutes 7] [--sweeps 4]

Draws students from the whole space (every family, none of them in the probe kit), exports each in fp32 and int8,
measures them as the probe does, and compares with the profile's predictions; beside them a line through FLOPs alone
and one through parameters alone, fitted to the same profile's table. Exports and measurements are kept in ``--work``
and not made again; no turn is begun after ``--minutes``: call it again to go on. Without ``--profile`` it probes first.
On a machine with other work, give it priority: ``chrt -f 10 python benchmarks/latency_prediction.py``.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import results
import torch

from edgeclip.device.facts import target_here
from edgeclip.exporting.int8 import quantize_int8, recipe_for
from edgeclip.exporting.untrained import export_untrained
from edgeclip.profiling.costmodel import Towers, predict_columns
from edgeclip.profiling.probe import profile as probe
from edgeclip.profiling.probe import take_turn
from edgeclip.profiling.probekit import Kit
from edgeclip.profiling.schema import Profile
from edgeclip.profiling.store import load_profile
from edgeclip.runtime.engines.ort import Onnxruntime
from edgeclip.towers.space import name_of, workload_of
from edgeclip.towers.spec import StudentSpec
from edgeclip.towers.timmtowers import FAMILIES, timm_vision_cfg
from edgeclip.towers.vit import DEPTHS, MLP_RATIOS, WIDTHS

BANDS = (0.0, 0.05, 0.2, 0.8, 2.5, 12.0)  # GFLOP: as many ViTs from each
VITS, TOWERS = 20, 4  # ViTs in all; of each other family, at most
SIZES = (32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 256, 288)
TOWER_SIZES = (64, 96, 128, 160, 192, 224, 256)
PROBE_SECONDS = 170
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")


def main() -> None:
    """Export, probe, measure, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("build/latency-prediction"))
    parser.add_argument("--profile", type=Path)
    parser.add_argument("--minutes", type=float, default=7)
    parser.add_argument("--sweeps", type=int, default=4)
    parser.add_argument("--export-only", action="store_true")
    args = parser.parse_args()
    deadline = time.monotonic() + 60 * args.minutes
    with Kit() as kit:
        configs = drawn(set(kit.index.towers))
    specs = [
        StudentSpec(name=name_of(config), vision_cfg=config, workload=workload_of(config), precision=precision)
        for config in configs
        for precision in ("fp32", "int8")
    ]
    if not exported(specs, args.work, deadline) or args.export_only:
        return
    profile = load_profile(args.profile) if args.profile else probed(args.work / "profile.toml")
    measured = in_turns(specs, profile.runtime.threads, args.work, args.sweeps, deadline)
    if measured:
        report(profile, specs, measured)


def drawn(taken: set[str]) -> list[dict[str, Any]]:
    """Configs of held-out students: always the same draw."""
    draw = random.Random(7)
    found: list[dict[str, Any]] = []
    while len(found) < VITS:
        config = {
            "image_size": draw.choice(SIZES),
            "patch_size": draw.choice((8, 16, 32)),
            "width": draw.choice(WIDTHS),
            "layers": draw.choice(DEPTHS),
            "mlp_ratio": float(draw.choice(MLP_RATIOS)),
            "head_width": draw.choice((32, 64)),
        }
        whole = config["image_size"] % config["patch_size"] == 0 and config["width"] % config["head_width"] == 0
        if whole and config["image_size"] >= 2 * config["patch_size"] and name_of(config) not in taken:
            band = len(found) % (len(BANDS) - 1)
            if BANDS[band] <= workload_of(config).gflops < BANDS[band + 1]:
                found.append(config)
    for names in FAMILIES.values():
        for name in draw.sample(names, min(TOWERS, len(names))):
            sizes = [size for size in TOWER_SIZES if f"{name}-{size}" not in taken]
            found.append(timm_vision_cfg(name, draw.choice(sizes)))
    return found


def exported(specs: Sequence[StudentSpec], work: Path, deadline: float) -> bool:
    """Whether every graph is there, after exporting until the time is up."""
    work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    missing = [spec for spec in specs if not graph_of(spec, work).is_file()]
    for done, spec in enumerate(missing):
        if time.monotonic() > deadline:
            print(f"{len(missing) - done} of {len(specs)} graphs to export: call it again to go on")
            return False
        unfinished = graph_of(spec, work).with_suffix(".part")
        if spec.precision == "fp32":
            export_untrained(spec, unfinished)
        else:  # as export_untrained does, from the fp32 graph that is there already
            noise = np.random.default_rng(0).standard_normal((8, 3, *[spec.image_size] * 2), dtype=np.float32)
            fp32 = graph_of(spec.model_copy(update={"precision": "fp32"}), work)
            quantize_int8(fp32, unfinished, noise, recipe_for(target_here()))
        unfinished.rename(graph_of(spec, work))
    return True


def graph_of(spec: StudentSpec, work: Path) -> Path:
    """Where its export lies."""
    return work / f"{spec.name}.{spec.precision}.onnx"


def probed(path: Path) -> Profile:
    """A profile made by the probe just before, or the one that is there."""
    if not path.is_file():
        probe("held-out", seconds=PROBE_SECONDS).save(path)
    return load_profile(path)


def in_turns(
    specs: Sequence[StudentSpec], threads: int, work: Path, sweeps: int, deadline: float
) -> dict[str, float] | None:
    """Each student's p50 over the reference's, the median over sweeps; None where the time was too short."""
    file = work / "turns.json"
    turns: dict[str, list[float]] = json.loads(file.read_text()) if file.is_file() else {}
    with Kit() as kit:
        reference = kit.open(kit.reference, Onnxruntime(), threads=threads)
        for sweep in range(sweeps):
            for spec in specs:
                taken = turns.setdefault(f"{spec.name} {spec.precision}", [])
                if len(taken) > sweep:
                    continue
                if time.monotonic() > deadline:
                    print(f"sweep {sweep + 1} of {sweeps}: call it again to go on")
                    return None
                own, beside = take_turn(reference, opened(spec, threads, work))
                taken.append(own.p50 / beside.p50)
                file.write_text(json.dumps(turns))
    return {name: float(np.median(taken)) for name, taken in turns.items()}


def opened(spec: StudentSpec, threads: int, work: Path) -> Callable[[], object]:
    """A call that encodes one image."""
    session = Onnxruntime().open(graph_of(spec, work), threads=threads, precision=spec.precision)
    size = spec.image_size
    one = np.random.default_rng(0).standard_normal((1, 3, size, size), dtype=np.float32)
    return lambda: session.run(one)


def report(profile: Profile, specs: Sequence[StudentSpec], measured: dict[str, float]) -> None:
    """Errors by model, precision and family; JSON and a plot."""
    rows: list[dict[str, Any]] = []
    for precision in ("fp32", "int8"):
        own = [spec for spec in specs if spec.precision == precision]
        loads = [spec.workload for spec in own]
        predicted = predict_columns(profile, Towers.of(loads), precision) / profile.reference.p50_ms
        table = [row for row in profile.latency if row.precision == precision]
        lines = {name: line([getattr(r, name) for r in table], [r.relative for r in table]) for name in LINES}
        for spec, load, value in zip(own, loads, predicted.tolist(), strict=True):
            row = {"student": spec.name, "family": load.family, "precision": precision, "predicted": value}
            row |= {f"by_{name}": slope * getattr(load, name) + start for name, (slope, start) in lines.items()}
            rows.append(row | {"measured": measured[f"{spec.name} {precision}"]})
    summary = {"fp32": table_of(rows, "fp32"), "int8": table_of(rows, "int8")}
    overall = errors(rows, "predicted")
    print(f"both precisions: {told(overall)}")
    facts = {"name": profile.name, "drift": profile.reference.drift, "flags": profile.flags}
    facts |= {"held_out_error": {name: model.held_out_error for name, model in profile.cost_model.items()}}
    found = {"profile": facts, "overall": overall, "summary": summary, "students": rows}
    path = results.save("latency_prediction", found)
    plot(rows, path.with_suffix(".svg"))


LINES = ("gflops", "params_m")


def line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Slope and start, by least squares on relative errors, as the cost model is fitted."""
    table = np.stack([np.asarray(x), np.ones(len(x))], axis=1) / np.asarray(y)[:, None]
    slope, start = np.linalg.lstsq(table, np.ones(len(x)), rcond=None)[0]
    return float(slope), float(start)


def table_of(rows: Sequence[dict[str, Any]], precision: str) -> dict[str, Any]:
    """Print and return one precision's errors, whole, by family, and of the two lines."""
    own = [row for row in rows if row["precision"] == precision]
    found = {"all": errors(own, "predicted")}
    for family in sorted({row["family"] for row in own}):
        found[family] = errors([row for row in own if row["family"] == family], "predicted")
    for name in LINES:
        found[f"line through {name}"] = errors(own, f"by_{name}")
    for name, figures in found.items():
        print(f"{precision} {name:24} {told(figures)}")
    return found


def errors(rows: Sequence[dict[str, Any]], by: str) -> dict[str, float]:
    """Mean absolute error, share within 10 %, and Spearman's rank correlation."""
    guessed, true = (np.array([row[name] for row in rows]) for name in (by, "measured"))
    off = guessed / true - 1
    ranks = [np.argsort(np.argsort(values)) for values in (guessed, true)]
    correlation = float(np.corrcoef(*ranks)[0, 1])
    within = float(np.mean(np.abs(off) <= 0.1))
    return {
        "students": len(rows),
        "mean_absolute_error": float(np.abs(off).mean()),
        "within_10_percent": within,
        "rank_correlation": correlation,
        "bias": float(off.mean()),
    }


def told(figures: dict[str, float]) -> str:
    """One line of them."""
    return (
        f"{figures['students']:3} students  error {figures['mean_absolute_error']:6.1%}  within 10 %: "
        f"{figures['within_10_percent']:4.0%}  rank {figures['rank_correlation']:.4f}  bias {figures['bias']:+.1%}"
    )


def plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Predicted against measured, a panel a precision, a colour a family."""
    figure, panels = plt.subplots(1, 2, figsize=(11, 5.4), sharex=True, sharey=True)
    families = sorted({row["family"] for row in rows})
    ends = [min(row["measured"] for row in rows) / 1.4, max(row["measured"] for row in rows) * 1.4]
    for axes, precision in zip(panels, ("fp32", "int8"), strict=True):
        for family, color in zip(families, COLORS, strict=True):
            own = [row for row in rows if row["precision"] == precision and row["family"] == family]
            axes.loglog([r["measured"] for r in own], [r["predicted"] for r in own], "o", color=color, label=family)
        axes.plot(ends, ends, color="#333", linewidth=1)
        axes.fill_between(ends, [0.9 * e for e in ends], [1.1 * e for e in ends], color="#ccc", alpha=0.5, linewidth=0)
        figures = errors([row for row in rows if row["precision"] == precision], "predicted")
        axes.set_title(f"{precision}: off by {figures['mean_absolute_error']:.1%}, band: within 10 %")
        axes.set_xlabel("measured, times the reference")
    panels[0].set_ylabel("predicted, times the reference")
    panels[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    main()
