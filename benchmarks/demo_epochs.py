"""How many epochs, and how many images, does the demo need to keep nine tenths of its teacher?

    python benchmarks/demo_epochs.py [--epochs 12 24 36 48 60] [--images 300 1000] [--seeds 0 1]

Distils as ``edgeclip demo`` does, the same student each time: on all images for fewer epochs, and on fewer images for
as many steps as on all. What is kept is counted above chance, on the pictures that nobody learnt from. By this table
the demo never cuts its epochs too short, and ``edgeclip distill`` says when images are few.
"""

from __future__ import annotations

import argparse
import random
import shutil
import tempfile
import time
from importlib.resources import files
from pathlib import Path

import results

from edgeclip.base.documents import read_document
from edgeclip.chain.demo.openmoji import write_dataset
from edgeclip.chain.loading import DEMO, load, open_teacher
from edgeclip.data.training import TrainingData
from edgeclip.distillation import distill
from edgeclip.distillation.config import DistillConfig
from edgeclip.evaluation import evaluate
from edgeclip.evaluation.chance import chance_level, kept_above_chance
from edgeclip.images.datasets import open_dataset
from edgeclip.towers.spec import StudentSpec

# What the demo selects on the two cores of profiles/x86-avx2-2core.toml.
TOWER = {"image_size": 64, "patch_size": 16, "width": 256, "layers": 2, "head_width": 64, "mlp_ratio": 4.0}


def some(folder: Path, count: int, seed: int) -> Path:
    """So many of a folder's images, drawn by the seed, in a folder beside it; all of them where it has no more."""
    files = sorted(folder.iterdir())
    if count >= len(files):
        return folder
    drawn = folder.with_name(f"{folder.name}-{count}-{seed}")
    drawn.mkdir(exist_ok=True)
    for file in random.Random(seed).sample(files, count):
        shutil.copy(file, drawn)
    return drawn


def main() -> None:
    """Distil, judge, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, nargs="+", default=[12, 24, 36, 48, 60])
    parser.add_argument("--images", type=int, nargs="+", default=[300, 1000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    asked = parser.parse_args()
    whole = read_document(Path(str(files("edgeclip.chain.demo") / "config.toml")), DistillConfig)
    spec, rows = StudentSpec(name="demo", vision_cfg=TOWER), []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_dataset(folder / "data")
        data = open_dataset(folder / "data/heldout")
        found = evaluate(load(DEMO), data)
        chance = chance_level(found.labels, len(data.classnames))
        print(f"teacher {found.top1:.1%}, chance {chance:.2%}, {len(data)} images", flush=True)
        every = len(list((folder / "data/train").iterdir()))
        plan = [(count, round(whole.epochs * every / count)) for count in asked.images] + [
            (every, epochs) for epochs in asked.epochs
        ]
        for count, epochs in plan:
            for seed in asked.seeds:
                config = whole.model_copy(update={"epochs": epochs, "seed": seed})
                texts, out, start = (
                    folder / "data/sentences.txt",
                    folder / f"run-{count}-{epochs}-{seed}",
                    time.monotonic(),
                )
                images = some(folder / "data/train", count, seed)
                run = distill(spec, [open_teacher(DEMO)], TrainingData(images, texts), out, config=config)
                top1 = evaluate(run.encoder(), data).top1
                kept = kept_above_chance(top1, found.top1, chance)
                rows.append({"images": count, "epochs": epochs, "seed": seed, "top1": top1, "kept": kept})
                rows[-1]["seconds"] = round(time.monotonic() - start, 1)
                print(rows[-1], flush=True)
    results.save(
        "demo_epochs", {"teacher": found.top1, "chance": chance, "images": len(data), "tower": TOWER, "rows": rows}
    )


if __name__ == "__main__":
    main()
