"""Does the score that selection ranks by rank students as training does? Short distillations across the range.

    python benchmarks/ranking_score.py [--epochs 12] [--minutes 30]

Distils every student of SPECS on the demo's data for a few epochs, judges it on the held-out names, and compares the
order with the score's: Spearman's rank correlation. What is there already is not run again, and no run is begun after
``--minutes``: call it again to go on.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import results

from edgeclip.chain.demo.openmoji import SIZE, write_dataset
from edgeclip.chain.loading import open_teacher
from edgeclip.data.augment import Augment
from edgeclip.data.training import TrainingData
from edgeclip.distillation.config import DistillConfig, Weights
from edgeclip.distillation.pipeline import distill
from edgeclip.distillation.run import Run
from edgeclip.evaluation import evaluate
from edgeclip.images.datasets import open_dataset
from edgeclip.towers.prior import score
from edgeclip.towers.space import name_of, whole_space, workload_of
from edgeclip.towers.spec import StudentSpec
from edgeclip.towers.timmtowers import timm_vision_cfg

KEYS = ("image_size", "patch_size", "width", "layers", "mlp_ratio", "head_width")
VITS = (
    (64, 32, 128, 4, 4, 64),
    (64, 16, 64, 2, 4, 32),
    (64, 16, 64, 6, 2, 32),
    (32, 8, 128, 4, 4, 64),
    (64, 16, 128, 4, 4, 64),
    (64, 16, 192, 6, 3, 64),
    (64, 16, 320, 3, 2, 64),
    (64, 8, 64, 4, 4, 32),
    (64, 8, 96, 5, 3, 32),
)
TOWERS = (
    "mobilenetv4_conv_small_035",
    "mobilenetv4_conv_small",
    "efficientvit_b0",
    "efficientvit_m0",
    "efficientvit_m2",
    "repvit_m0_9",
    "fastvit_t8",
    "convnext_atto",
    "convnextv2_atto",
)
AUGMENT = Augment(area=(0.85, 1.0), aspect=0.06, rotate=4.0, flip=False)


def main() -> None:
    """Train what is missing; when all are there, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/ranking"))
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--minutes", type=float, default=30)
    args = parser.parse_args()
    started = time.monotonic()
    if not (args.work / "data/dataset.json").is_file():
        write_dataset(args.work / "data")
    heldout = open_dataset(args.work / "data/heldout")
    specs = [spec(dict(zip(KEYS, numbers, strict=True))) for numbers in VITS]
    specs += [spec(timm_vision_cfg(tower, SIZE)) for tower in TOWERS]
    rows = []
    for each in sorted(specs, key=lambda s: s.workload.gflops):
        out = args.work / each.name
        finished = (out / "run.json").is_file() and Run.open(out).document.status == "finished"
        if not finished and time.monotonic() - started > 60 * args.minutes:
            print(f"{len(rows)} of {len(specs)} are there: call it again to go on")
            return
        top1 = evaluate(train(each, out, args.work, args.epochs).encoder(), heldout).top1
        rows.append({"student": each.name, "gflops": each.workload.gflops, "score": each.score, "top1": top1})
        print(f"{each.name:36} {each.workload.gflops:.4f} GFLOP  score {each.score:6.2f}  top-1 {top1:.3f}", flush=True)
    found = {name: rank_correlation([r[name] for r in rows], [r["top1"] for r in rows]) for name in ("score", "gflops")}
    print("rank correlation with held-out top-1: " + ", ".join(f"{name} {value:.3f}" for name, value in found.items()))
    settings = {"epochs": args.epochs, "classes": len(heldout), "image_size": SIZE}
    path = results.save("ranking_score", {"settings": settings, "rank_correlation": found, "students": rows})
    plot(rows, path.with_suffix(".svg"))


def spec(config: dict[str, Any]) -> StudentSpec:
    """A student with the score that selection gives it."""
    space, load, name = whole_space(SIZE), workload_of(config), name_of(config)
    alike = np.flatnonzero(np.isclose(space.gflops, load.gflops, rtol=1e-4))
    row = next(row for row in alike.tolist() if space.name(row) == name)
    value = float(score(space, SIZE, "fp32")[row])
    return StudentSpec(name=name, vision_cfg=space.vision_cfg(row), workload=load, score=value)


def train(each: StudentSpec, out: Path, work: Path, epochs: int) -> Run:
    """A short run, gone on with where it was interrupted; a finished one as it is."""
    resume = (out / "run.json").is_file()
    if resume and Run.open(out).document.status == "finished":
        return Run.open(out)
    config = DistillConfig(
        epochs=epochs,
        batch_size=128,
        views=3,
        lr=1.5e-3,
        min_lr=1e-5,
        warmup_epochs=2,
        weights=Weights(vl=0.7, pvl=0.3, embed=10.0),
        augment=AUGMENT,
        tracker="none",
    )
    inputs = (
        each,
        [open_teacher("demo")],
        TrainingData(work / "data/train", work / "data/sentences.txt", store=work / "store"),
        out,
    )
    return distill(*inputs, config=config, resume=resume)


def rank_correlation(left: list[float], right: list[float]) -> float:
    """Spearman's: the correlation of ranks; equals share theirs."""
    ranks = [np.array([(np.sum(np.array(v) < x) + np.sum(np.array(v) <= x)) / 2 for x in v]) for v in (left, right)]
    return float(np.corrcoef(*ranks)[0, 1])


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Score against accuracy."""
    figure, axes = plt.subplots(figsize=(7, 5))
    for row in rows:
        color = "#0072b2" if row["student"].startswith("vit") else "#d55e00"
        axes.plot(row["score"], 100 * row["top1"], "o", color=color)
        axes.annotate(
            row["student"], (row["score"], 100 * row["top1"]), fontsize=6, xytext=(3, 3), textcoords="offset points"
        )
    axes.set_xlabel("score")
    axes.set_ylabel("held-out top-1 after a short distillation, %")
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    main()
