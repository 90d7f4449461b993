"""Does memory stay flat with ten million rows? Synthetic images and sentences, a teacher of arithmetic, real stores.

    python benchmarks/scale.py [--rows 10000000] [--work runs/scale]

Each part runs in a process of its own and tells the most memory that it held (VmHWM, the imports included):
extraction of image embeddings, training on them, and the selection of sentences from a corpus of as many.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import psutil
import torch

from edgeclip.base.strings import StringsOnDisk, digest
from edgeclip.data.sentences import kept_sentences
from edgeclip.data.squares import Images
from edgeclip.data.views import Views
from edgeclip.distillation.batches import Batch, Loader
from edgeclip.distillation.config import DistillConfig, TextShape
from edgeclip.distillation.grounding import ground
from edgeclip.distillation.run import Run, RunDocument
from edgeclip.distillation.student import build_student
from edgeclip.distillation.targets import find_targets
from edgeclip.distillation.trainer import Trainer
from edgeclip.runtime.manifest import Preprocess
from edgeclip.towers.spec import StudentSpec
from edgeclip.towers.vit import vit_workload

DIM, SIZE, STEPS = 16, 16, 200
TOWER = {"image_size": SIZE, "patch_size": 8, "width": 32, "layers": 1, "mlp_ratio": 2.0, "head_width": 32}
CONFIG = DistillConfig(
    epochs=1,
    views=1,
    text_tower="student",
    text_shape=TextShape(width=16, layers=1, heads=1),
    checkpoint_seconds=1e6,
    tracker="none",
)
PARTS = ("extract", "train", "select")


class Rows:
    """A source of as many images as one likes."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def key(self, row: int) -> str:
        """A name."""
        return f"synthetic/{row:09d}"

    def read(self, row: int) -> bytes:
        """SyntheticImages makes pixels, not files."""
        return b""

    def stamp(self, rows: range) -> str:
        """Nothing changes."""
        return ""

    @property
    def digest(self) -> str:
        """Of their number: it says which there are."""
        return digest([str(self.count)])


class SyntheticImages(Images):
    """Pixels that follow from the row's number."""

    def decode(self, rows: Sequence[int]) -> tuple[torch.Tensor, list[int]]:
        """uint8 ``[len(rows), 3, S, S]``, none broken."""
        shade = (torch.as_tensor(rows)[:, None] * torch.tensor([7, 11, 13])) % 256
        return shade.to(torch.uint8)[:, :, None, None].expand(-1, -1, self.size, self.size).contiguous(), []


class Arithmetic:
    """A teacher that costs next to nothing."""

    name, fingerprint, embed_dim, logit_scale, image_size = "arithmetic", "1", DIM, 100.0, SIZE
    preprocess = Preprocess(size=SIZE, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    text = None

    def encode_squares(self, pixels: torch.Tensor) -> np.ndarray:
        """Waves of the mean colour."""
        return self._waves(pixels.mean(dim=(2, 3)).numpy() @ np.float32([0.1, 0.01, 0.001]))

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """Waves of the number in the text."""
        return self._waves(np.float32([int(text[-9:]) % 65536 / 1000 for text in texts]))

    def _waves(self, values: np.ndarray) -> np.ndarray:
        found = np.sin(values[:, None] * np.arange(1, DIM + 1, dtype=np.float32) + np.arange(DIM, dtype=np.float32))
        return found / np.linalg.norm(found, axis=1, keepdims=True)


def main() -> None:
    """Run the parts, each in its process; or one of them, where it is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--work", type=Path, default=Path("runs/scale"))
    parser.add_argument("--part", choices=PARTS)
    args = parser.parse_args()
    if args.part:
        torch.set_num_threads(1)  # tensors this small gain nothing from more
        globals()[args.part](args.rows, args.work)
        return
    import results

    found = {}
    for part in PARTS:
        start = time.monotonic()
        command = [sys.executable, __file__, "--rows", str(args.rows), "--work", str(args.work), "--part", part]
        told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        found[part] = {**json.loads(told), "seconds": round(time.monotonic() - start)}
        print(part, found[part], flush=True)
    results.save("scale", {"rows": args.rows, "parts": found})


def extract(rows: int, work: Path) -> None:
    """Embed every image and every sentence."""
    _targets(rows, work)
    _tell()


def train(rows: int, work: Path) -> None:
    """A few steps on them, with a text tower too, so that sentences are read as well."""
    images, sentences, targets, views = _targets(rows, work)
    spec = StudentSpec(name="tiny", vision_cfg=TOWER, workload=vit_workload(TOWER))
    _, _, towers, tokenizer = build_student(spec, [Arithmetic()], CONFIG)
    loader = Loader(CONFIG, images, sentences, targets, views, Arithmetic.preprocess, tokenizer)
    document = RunDocument(teacher="arithmetic", teacher_fingerprint="1", images="", texts="", spec=spec, config=CONFIG)
    (work / "run").mkdir(exist_ok=True)
    trainer = Trainer(towers, CONFIG, Run(work / "run", document), loader.pictures.batches, logit_scale=100.0)
    trainer.steps = STEPS
    first: list[float] = []

    def batch_of(step: int) -> Batch:
        if step == 1:  # the first step was made
            first.append(time.time() - psutil.Process().create_time())
        return loader(step)

    trainer.train(batch_of)
    _tell(first_step_seconds=round(first[0], 1))


def select(rows: int, work: Path) -> None:
    """Sentences grounded in a thousand images."""
    images = SyntheticImages(Rows(1000), Arithmetic.preprocess)
    ground(Arithmetic(), images, _sentences(rows, work), work / "select")
    _tell()


def _targets(rows: int, work: Path):  # type: ignore[no-untyped-def]
    images = SyntheticImages(Rows(rows), Arithmetic.preprocess)
    sentences = _sentences(rows, work)
    views = Views(CONFIG.augment, 0)
    return images, sentences, find_targets(work / "store", CONFIG, [Arithmetic()], images, sentences, views), views


def _sentences(rows: int, work: Path) -> StringsOnDisk:
    corpus = work / "corpus.txt"
    if not corpus.is_file():
        work.mkdir(parents=True, exist_ok=True)
        with corpus.open("w") as file:
            file.writelines(_lines(rows))
    return kept_sentences(corpus, work)


def _lines(rows: int) -> Iterator[str]:
    return (f"a sentence about thing {row:09d}\n" for row in range(rows))


def _tell(**more: float) -> None:
    status = Path("/proc/self/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]
    print(json.dumps({"peak_mb": int(peak) / 1000, **more}))


if __name__ == "__main__":
    main()
