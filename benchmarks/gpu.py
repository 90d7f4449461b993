"""What is distillation worth on a GPU? Our trainer against bare steps and the card's peak; the teacher's one pass.

    python benchmarks/gpu.py [--rounds 3] [--steps 30] [--batch 512]

A ViT-B/32 at 224 px learns from a ViT-L/14, random weights both (what they know changes no time), from images that are
decoded and in memory. In each round, one after the other, in each precision:
- edgeclip's trainer: squares -> views -> student -> DIME-FM -> AdamW, targets from the feature store;
- bare: forward, loss, backward, clip, step on tensors that lie on the GPU.
The teacher's pass over the views, paid once whatever the epochs, is timed by itself. Shares of the peak count two
operations a multiply-add, three forward passes a step; the peak is the best of a few products of large matrices here.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import results
import torch

from edgeclip.base.strings import StringsOnDisk, digest
from edgeclip.data.squares import Images
from edgeclip.data.views import Views
from edgeclip.distillation.batches import Loader
from edgeclip.distillation.config import DistillConfig
from edgeclip.distillation.objectives import Embeddings, objective
from edgeclip.distillation.optimizer import parameter_groups
from edgeclip.distillation.run import Run, RunDocument
from edgeclip.distillation.student import build_student
from edgeclip.distillation.targets import find_targets
from edgeclip.distillation.teachers import OpenClipTeacher
from edgeclip.distillation.trainer import Trainer
from edgeclip.models.openclip import OpenClipEncoder
from edgeclip.runtime.manifest import Preprocess
from edgeclip.towers.spec import StudentSpec
from edgeclip.towers.vit import vit_workload

SIZE, IMAGES = 224, 4096
STUDENT = {"image_size": SIZE, "patch_size": 32, "width": 768, "layers": 12, "mlp_ratio": 4.0, "head_width": 64}
TEACHER = {"image_size": SIZE, "patch_size": 14, "width": 1024, "layers": 24, "mlp_ratio": 4.0, "head_width": 64}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 768, "heads": 12, "layers": 2}
KINDS = {
    "fp32": {},
    "bf16": {"mixed_precision": "bf16"},
    "bf16, compiled": {"mixed_precision": "bf16", "compile": True},
}
WARM = 5  # steps before the clock


class Squares:
    """A source of images that SquareImages has decoded already."""

    def __len__(self) -> int:
        return IMAGES

    def key(self, row: int) -> str:
        """A name."""
        return str(row)

    def read(self, row: int) -> bytes:
        """Nothing is left to be read."""
        return b""

    def stamp(self, rows: range) -> str:
        """Nothing changes."""
        return ""

    @property
    def digest(self) -> str:
        """Of their number."""
        return digest([str(IMAGES)])


class SquareImages(Images):
    """Noise, decoded."""

    def decode(self, rows: Sequence[int]) -> tuple[torch.Tensor, list[int]]:
        """uint8 ``[len(rows), 3, S, S]``, none broken."""
        if not hasattr(self, "_noise"):
            self._noise = torch.randint(0, 256, (IMAGES, 3, SIZE, SIZE), dtype=torch.uint8)
        return self._noise[torch.as_tensor(rows)], []


class Bench:
    """What the rounds share."""

    def __init__(self, folder: Path, batch: int, steps: int) -> None:
        self.folder, self.batch, self.steps = folder, batch, steps
        torch.set_float32_matmul_precision("high")  # as distill does on a GPU
        self.teacher = _teacher()
        self.config = DistillConfig(
            epochs=10_000, batch_size=batch, views=1, checkpoint_seconds=1e6, tracker="none", weights="dime-fm"
        )
        self.spec = StudentSpec(name="student", vision_cfg=STUDENT, workload=vit_workload(STUDENT))
        images, views = SquareImages(Squares(), self.teacher.preprocess), Views(self.config.augment, 0)
        lines = (f"a sentence about thing {row}".encode() for row in range(2 * batch))
        sentences = StringsOnDisk.write(folder / "sentences.bin", lines)
        self.teacher.encode_squares(torch.zeros(8, 3, SIZE, SIZE))  # the first call chooses kernels
        start = time.perf_counter()
        targets = find_targets(folder / "store", self.config, [self.teacher], images, sentences, views)
        self.views_per_second = IMAGES / (time.perf_counter() - start)
        self.batch_of = Loader(self.config, images, sentences, targets, views, self.teacher.preprocess, None)

    def edgeclip(self, kind: str, number: int) -> float:
        """Samples/s of our trainer, the first steps left out."""
        config = self.config.model_copy(update=KINDS[kind])
        out = self.folder / f"{kind}-{number}"
        out.mkdir()
        document = RunDocument(teacher="", teacher_fingerprint="", images="", texts="", spec=self.spec, config=config)
        trainer = Trainer(self._towers(), config, Run(out, document), self.batch_of.pictures.batches, logit_scale=100.0)
        trainer.steps, began = self.steps + WARM, []

        def batch_of(step: int) -> Any:
            if step == WARM + 1:  # asked for while step WARM is taken
                torch.cuda.synchronize()
                began.append(time.perf_counter())
            return self.batch_of(step)

        save, trainer.save = (
            trainer.save,
            lambda: None,
        )  # a checkpoint is written once a minute, not once in these steps
        trainer.train(batch_of)
        torch.cuda.synchronize()
        took = time.perf_counter() - began[0]
        save()
        return self.batch * self.steps / took

    def bare(self, kind: str) -> float:
        """Samples/s of the student's steps alone."""
        towers = self._towers().cuda()
        if KINDS[kind].get("compile"):
            towers.compile()
        weights = self.config.weights.model_dump()
        optimizer = torch.optim.AdamW(parameter_groups(towers.train(), 0.05), lr=1e-4)
        ready = [self.batch_of(step).to(torch.device("cuda")) for step in range(4)]
        for step in range(self.steps + WARM):
            if step == WARM:
                torch.cuda.synchronize()
                start = time.perf_counter()
            batch = ready[step % len(ready)]
            with torch.autocast("cuda", torch.bfloat16, enabled="mixed_precision" in KINDS[kind]):
                own = Embeddings(towers(batch.pixels, None)[0], batch.teachers[0].texts)
            loss = sum(objective(own, batch.teachers, weights).values())
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(towers.parameters(), 1.0)
            optimizer.step()
        torch.cuda.synchronize()
        return self.batch * self.steps / (time.perf_counter() - start)

    def loader(self) -> float:
        """Samples/s of the batches alone, until they lie on the GPU."""
        start = time.perf_counter()
        for step in range(10):
            self.batch_of(step).to(torch.device("cuda"))
        torch.cuda.synchronize()
        return 10 * self.batch / (time.perf_counter() - start)

    def _towers(self) -> Any:
        torch.manual_seed(0)
        return build_student(self.spec, [self.teacher], self.config)[2]


def _teacher() -> OpenClipTeacher:
    config = {"embed_dim": 768, "vision_cfg": TEACHER, "text_cfg": TEXT, "custom_text": True}
    torch.manual_seed(0)
    model = open_clip.model.CustomTextCLIP(768, dict(TEACHER), dict(TEXT))
    preprocess = Preprocess(size=SIZE, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)).model_dump()
    return OpenClipTeacher("ViT-L-14", OpenClipEncoder(model, config, preprocess, open_clip.SimpleTokenizer()))


def peak(dtype: torch.dtype) -> float:
    """TFLOP/s of products of large matrices."""
    one, other = (torch.randn(8192, 8192, device="cuda", dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(8):
        torch.cuda.synchronize()
        start = time.perf_counter()
        one @ other
        torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * 8192**3 / best / 1e12


def main() -> None:
    """Measure in rounds, print rates and shares of the peak."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--batch", type=int, default=512)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), args.batch, args.steps)
        rounds: list[dict[str, Any]] = []
        for number in range(args.rounds):
            found: dict[str, Any] = {"batches alone": bench.loader()}
            for kind in KINDS:
                found[kind] = {"edgeclip": bench.edgeclip(kind, number), "bare": bench.bare(kind)}
            rounds.append(found)
            print(found, flush=True)
    peaks = {"fp32": peak(torch.float32), "bf16": peak(torch.bfloat16)}  # fp32 is TF32 by now
    step_gflop = 3 * vit_workload(STUDENT).gflops
    medians = {}
    for kind in KINDS:
        rate = float(np.median([one[kind]["edgeclip"] for one in rounds]))
        ratio = float(np.median([one[kind]["edgeclip"] / one[kind]["bare"] for one in rounds]))
        tflops = rate * step_gflop / 1e3
        medians[kind] = {
            "samples_per_second": rate,
            "of_bare_steps": ratio,
            "tflops": tflops,
            "of_peak": tflops / peaks["bf16" if "bf16" in kind else "fp32"],
        }
        print(f"{kind}: {rate:.0f} samples/s, {ratio:.2f} of bare steps, {tflops:.0f} TFLOP/s")
    looked = bench.views_per_second * vit_workload(TEACHER).gflops / 1e3
    print(f"the teacher's pass: {bench.views_per_second:.0f} views/s, {looked:.0f} TFLOP/s; peaks {peaks}")
    results.save(
        "gpu",
        {
            "gpu": torch.cuda.get_device_name(),
            "settings": {"batch": args.batch, "steps": args.steps, "student": STUDENT, "teacher": TEACHER},
            "peak_tflops": peaks,
            "rounds": rounds,
            "medians": medians,
            "teacher": {"views_per_second": bench.views_per_second, "tflops": looked},
        },
    )


if __name__ == "__main__":
    main()
