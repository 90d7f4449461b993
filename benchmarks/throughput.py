"""How fast does the student train? Against open_clip's own distillation, and against nothing but the student's steps.

    python benchmarks/throughput.py [--rounds 3] [--steps 40]

Same student, teacher, images and batch, on this CPU. In each round, one after the other:
- `open_clip_train.main --distill-model`: samples/s by its own log, over the round's steps but the first few;
- edgeclip's trainer: decoded images -> views -> student -> DIME-FM -> AdamW, targets from the feature store;
- bare: forward, loss, backward, clip, step on tensors that are in memory.
The teacher's one pass over the views is timed apart: it is paid once, whatever the epochs.
"""

from __future__ import annotations

import argparse
import csv
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import results
import torch

from edgeclip.chain.demo.openmoji import write_dataset
from edgeclip.chain.loading import load_teacher
from edgeclip.data.augment import Augment
from edgeclip.data.sentences import distinct, read_sentences
from edgeclip.data.squares import Images
from edgeclip.data.views import Views
from edgeclip.distillation.batches import Loader
from edgeclip.distillation.config import DistillConfig
from edgeclip.distillation.malloc import keep_freed_memory
from edgeclip.distillation.objectives import Embeddings, objective
from edgeclip.distillation.optimizer import parameter_groups
from edgeclip.distillation.run import Run, RunDocument
from edgeclip.distillation.student import build_student
from edgeclip.distillation.targets import find_targets
from edgeclip.distillation.teachers import as_teacher
from edgeclip.distillation.trainer import Trainer
from edgeclip.images.sources import open_source
from edgeclip.models.openclip import save_hub_layout
from edgeclip.towers.spec import StudentSpec
from edgeclip.towers.vit import vit_workload

TOWER = {"image_size": 64, "patch_size": 16, "width": 128, "layers": 4, "mlp_ratio": 4.0, "head_width": 32}
SKIPPED = 5  # open_clip's first steps, while its workers start


def main() -> None:
    """Measure in rounds, print ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch", type=int, default=64)
    args = parser.parse_args()
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), args.batch, args.steps)
        rounds = []
        for number in range(args.rounds):
            rounds.append(
                {"open_clip": bench.open_clip(number), "edgeclip": bench.edgeclip(number), "bare": bench.bare()}
            )
            print(", ".join(f"{name} {rate:.0f} samples/s" for name, rate in rounds[-1].items()), flush=True)
    against = {peer: statistics.median(one["edgeclip"] / one[peer] for one in rounds) for peer in ("open_clip", "bare")}
    print(f"edgeclip against open_clip {against['open_clip']:.2f}x, against bare steps {against['bare']:.2f}x")
    print(f"the teacher's pass: {bench.teacher_rate:.0f} views/s, once")
    settings = {"batch": args.batch, "steps": args.steps, "tower": TOWER}
    found = {"settings": settings, "rounds": rounds, "ratios": against, "teacher_views_per_second": bench.teacher_rate}
    results.save("throughput", found)


class Bench:
    """What the three share: the demo's images, its teacher, one student."""

    def __init__(self, folder: Path, batch: int, steps: int) -> None:
        self.folder, self.batch, self.steps = folder, batch, steps
        write_dataset(folder / "data")
        self.encoder = load_teacher("demo")
        self.teacher = as_teacher("demo", self.encoder)
        augment = Augment(area=(0.85, 1.0), flip=False)
        self.config = DistillConfig(
            epochs=1000, batch_size=batch, views=1, augment=augment, checkpoint_seconds=1e6, tracker="none"
        )
        self.spec = StudentSpec(name="student", vision_cfg=TOWER, workload=vit_workload(TOWER))
        source = open_source(str(folder / "data/train"), folder / "store")
        images = Images(source, self.teacher.preprocess)
        sentences = distinct(read_sentences(folder / "data/sentences.txt"), folder / "sentences.bin")
        sentences = sentences.only(np.arange(4096))
        views = Views(augment, 0)
        start = time.perf_counter()
        targets = find_targets(folder / "store", self.config, [self.teacher], images, sentences, views)
        self.teacher_rate = (len(images) + len(sentences)) / (time.perf_counter() - start)
        self.batch_of = Loader(self.config, images, sentences, targets, views, self.teacher.preprocess, None)
        model, model_cfg, _, _ = self._student()
        preprocess, tokenizer = self.encoder.preprocess_cfg, self.encoder.tokenizer
        save_hub_layout(model, model_cfg, preprocess, folder / "student", tokenizer)
        save_hub_layout(self.encoder.model, self.encoder.config, preprocess, folder / "teacher", tokenizer)
        with (folder / "pairs.csv").open("w", newline="") as file:
            rows = csv.writer(file, delimiter="\t")
            rows.writerow(["filepath", "title"])
            for row in range(batch * steps):
                rows.writerow([folder / "data/train" / source.key(row % len(source)), sentences[row % len(sentences)]])

    def _student(self) -> Any:
        return build_student(self.spec, [self.teacher], self.config)

    def edgeclip(self, number: int) -> float:
        """Samples/s of our trainer, start to end."""
        out = self.folder / f"run-{number}"
        out.mkdir()
        document = RunDocument(
            teacher="demo", teacher_fingerprint="", images="", texts="", spec=self.spec, config=self.config
        )
        _, _, towers, _ = self._student()
        batches = self.batch_of.pictures.batches
        trainer = Trainer(towers, self.config, Run(out, document), batches, logit_scale=100.0)
        trainer.steps = self.steps
        start = time.perf_counter()
        trainer.train(self.batch_of)
        return self.batch * self.steps / (time.perf_counter() - start)

    def bare(self) -> float:
        """Samples/s of the student's steps alone."""
        _, _, towers, _ = self._student()
        weights = self.config.weights.model_dump()
        optimizer = torch.optim.AdamW(parameter_groups(towers.train(), 0.05), lr=1e-4)
        ready = [self.batch_of(step) for step in range(8)]
        start = time.perf_counter()
        for step in range(self.steps):
            batch = ready[step % len(ready)]
            own = Embeddings(towers(batch.pixels, None)[0], batch.teachers[0].texts)
            loss = sum(objective(own, batch.teachers, weights).values())
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(towers.parameters(), 1.0)
            optimizer.step()
        return self.batch * self.steps / (time.perf_counter() - start)

    def open_clip(self, number: int) -> float:
        """Samples/s by open_clip's own log."""
        options = {
            "train-data": self.folder / "pairs.csv",
            "dataset-type": "csv",
            "model": f"local-dir:{self.folder / 'student'}",
            "distill-model": f"local-dir:{self.folder / 'teacher'}",
            "distill-pretrained": "local",
            "batch-size": self.batch,
            "epochs": 1,
            "workers": 1,
            "warmup": 1,
            "precision": "fp32",
            "device": "cpu",
            "log-every-n-steps": 1,
            "logs": self.folder / "logs",
            "save-frequency": 0,
            "name": f"peer-{number}",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        command = [sys.executable, "-m", "open_clip_train.main", *words, "--lock-text", "--lock-text-freeze-layer-norm"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        rates = [float(rate) for rate in re.findall(r"Batch \(t\): [\d.]+, ([\d.]+)/s,", done.stdout + done.stderr)]
        if len(rates) <= SKIPPED:
            raise SystemExit(f"open_clip_train failed:\n{done.stderr[-3000:]}")
        kept = rates[SKIPPED:]
        return len(kept) / sum(1 / rate for rate in kept)


if __name__ == "__main__":
    main()
