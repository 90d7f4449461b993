"""How fast are images decoded? Against the decoders of PIL and torchvision alone, by as many threads.

    python benchmarks/decoding.py [--images 1024] [--rounds 5]

JPEGs of 224 px in a folder, by turns: `Images.decode`, which a training reads by (file, decode, look at EXIF and mode,
square of 224 px, tensor); `PIL.Image.open(...).convert("RGB")` to an array; `torchvision.io.decode_image` to a tensor.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import results
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_image

from edgeclip.data import squares as module
from edgeclip.data.squares import Images
from edgeclip.distillation.malloc import keep_freed_memory
from edgeclip.images.sources import open_source
from edgeclip.runtime.cores import usable_cores
from edgeclip.runtime.manifest import Preprocess

SIDE, BATCH = 224, 64
SQUARE = Preprocess(size=SIDE, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def write_photographs(folder: Path, count: int) -> list[Path]:
    """JPEGs with the detail of photographs: smooth shapes under noise."""
    draw, files = np.random.default_rng(0), []
    for number in range(count):
        shapes = Image.fromarray(draw.integers(0, 256, (7, 7, 3), np.uint8)).resize(
            (SIDE, SIDE), Image.Resampling.BICUBIC
        )
        noisy = np.asarray(shapes, np.int16) + draw.integers(-20, 21, (SIDE, SIDE, 3))
        files.append(folder / f"{number:05d}.jpg")
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(files[-1], quality=90)
    return files


def rate(decode: Callable[[Sequence[int]], object], count: int) -> float:
    """Images a second."""
    start = time.perf_counter()
    for first in range(0, count, BATCH):
        decode(range(first, min(first + BATCH, count)))
    return count / (time.perf_counter() - start)


def main() -> None:
    """Measure by turns, print ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    keep_freed_memory()  # as a training does
    torch.set_num_threads(1)  # the threads are those that decode
    module.MEMORY_LIMIT = 0  # nothing is kept, as where data does not fit
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(usable_cores()) as pool:
        folder = Path(scratch)
        files = write_photographs(folder, given.images)
        ours = Images(open_source(scratch, folder), SQUARE)

        def by_pil(row: int) -> np.ndarray:
            with Image.open(files[row]) as image:
                return np.array(image.convert("RGB"))

        def by_torchvision(row: int) -> torch.Tensor:
            return decode_image(str(files[row]), ImageReadMode.RGB)

        ways: dict[str, Callable[[Sequence[int]], object]] = {
            "edgeclip": ours.decode,
            "pil": lambda rows: list(pool.map(by_pil, rows)),
            "torchvision": lambda rows: list(pool.map(by_torchvision, rows)),
        }
        assert np.array_equal(ours.decode([0])[0][0].permute(1, 2, 0).numpy(), by_pil(0))
        rounds = [{name: rate(way, given.images) for name, way in ways.items()} for _ in range(1 + given.rounds)][1:]
    ratios = {peer: statistics.median(one["edgeclip"] / one[peer] for one in rounds) for peer in ("pil", "torchvision")}
    for one in rounds:
        print(", ".join(f"{name} {images:.0f} images/s" for name, images in one.items()))
    print(f"edgeclip against PIL {ratios['pil']:.2f}x, against torchvision {ratios['torchvision']:.2f}x")
    settings = {"images": given.images, "threads": usable_cores(), "side": SIDE}
    results.save("decoding", {"settings": settings, "rounds": rounds, "ratios": ratios})


if __name__ == "__main__":
    main()
