"""Which objective keeps most of the teacher's zero-shot accuracy? Same student, data, views and steps for each.

    python benchmarks/objectives.py [--seeds 3] [--epochs 40]

Every objective learns from the same cached embeddings of the demo's teacher. Prints and writes the share of the
teacher's held-out top-1 that the student keeps: mean and spread over seeds. What is there already is not run again.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import results

from edgeclip import load
from edgeclip.chain.demo.openmoji import write_dataset
from edgeclip.chain.loading import load_teacher
from edgeclip.data.augment import Augment
from edgeclip.data.training import TrainingData
from edgeclip.distillation.config import DistillConfig
from edgeclip.distillation.pipeline import distill
from edgeclip.distillation.run import Run
from edgeclip.distillation.teachers import as_teacher
from edgeclip.evaluation import evaluate
from edgeclip.images.datasets import open_dataset
from edgeclip.towers.spec import StudentSpec
from edgeclip.towers.vit import vit_workload

TOWER = {"image_size": 64, "patch_size": 16, "width": 96, "layers": 4, "mlp_ratio": 4.0, "head_width": 32}
AUGMENT = Augment(area=(0.85, 1.0), aspect=0.06, rotate=4.0, flip=False)
OBJECTIVES: dict[str, str | dict[str, float]] = {
    "dime-fm": "dime-fm",
    "dime-fm-paper": "dime-fm-paper",
    "embedding": "embedding",
    "soft": "soft",
    "affinity": "affinity",
    "dime-fm + 1 embed": {"vl": 0.7, "pvl": 0.3, "embed": 1.0},
    "dime-fm + 10 embed": "mixed",
    "dime-fm + 30 embed": {"vl": 0.7, "pvl": 0.3, "embed": 30.0},
    "soft + 10 embed": {"soft": 1.0, "embed": 10.0},
}


def main() -> None:
    """Run them all, tabulate, plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/objectives"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=40)
    args = parser.parse_args()
    if not (args.work / "data/dataset.json").is_file():
        write_dataset(args.work / "data")
    heldout = open_dataset(args.work / "data/heldout")
    teacher = evaluate(load("demo"), heldout).top1
    kept: dict[str, list[float]] = {}
    for seed in range(args.seeds):
        for name, weights in OBJECTIVES.items():
            run = _run(args.work, name, weights, seed, args.epochs)
            kept.setdefault(name, []).append(evaluate(run.encoder(), heldout).top1 / teacher)
            print(f"{name}, seed {seed}: {kept[name][-1]:.1%} of the teacher's {teacher:.1%}", flush=True)
    table = [
        {"objective": name, "mean": statistics.mean(v), "spread": statistics.pstdev(v), "seeds": v}
        for name, v in sorted(kept.items(), key=lambda item: -statistics.mean(item[1]))
    ]
    for row in table:
        print(f"{row['objective']:22} {row['mean']:.1%} +- {row['spread']:.1%}")
    settings = {"epochs": args.epochs, "tower": TOWER, "batch_size": 128, "views": 6, "classes": len(heldout)}
    path = results.save("objectives", {"teacher_top1": teacher, "settings": settings, "table": table})
    _plot(table, path.with_suffix(".svg"))


def _run(work: Path, name: str, weights: Any, seed: int, epochs: int) -> Run:
    """One student; a finished run is used again, and the teacher looks at each seed's views only once."""
    out = work / f"{name.replace(' ', '')}-{seed}"
    if (out / "run.json").is_file() and Run.open(out).document.status == "finished":
        return Run.open(out)
    shutil.rmtree(out, ignore_errors=True)
    config = DistillConfig(
        epochs=epochs,
        batch_size=128,
        views=6,
        lr=1.5e-3,
        min_lr=1e-5,
        warmup_epochs=3,
        ema=0.99,
        weights=weights,
        augment=AUGMENT,
        seed=seed,
    )
    spec = StudentSpec(name="vit-p16-w96-d4", vision_cfg=TOWER, workload=vit_workload(TOWER))
    data = work / "data"
    inputs = (
        spec,
        [as_teacher("demo", load_teacher("demo"))],
        TrainingData(data / "train", data / "sentences.txt", store=work / f"store-{seed}"),
        out,
    )
    return distill(*inputs, config=config)


def _plot(table: list[dict[str, Any]], path: Path) -> None:
    figure, axes = plt.subplots(figsize=(7, 0.5 * len(table) + 1))
    for place, row in enumerate(reversed(table)):
        axes.barh(place, 100 * row["mean"], xerr=100 * row["spread"], color="#0072b2", height=0.6, capsize=3)
        axes.plot([100 * v for v in row["seeds"]], [place] * len(row["seeds"]), "o", color="#d55e00", markersize=3)
    axes.set_yticks(range(len(table)), [row["objective"] for row in reversed(table)])
    axes.set_xlim(left=max(0, 100 * min(min(row["seeds"]) for row in table) - 10))
    axes.set_xlabel("% of the teacher's held-out top-1 that the student keeps")
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    main()
