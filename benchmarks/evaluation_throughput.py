"""Is evaluation bound by the model? Images from tar shards through a bundle, against the model on ready tensors.

    python benchmarks/evaluation_throughput.py BUNDLE [--precision int8] [--images 10000] [--rounds 5]

The images are the demo's drawings (64 px PNG) in CLIP_benchmark's layout. All ways are taken in turns, round after
round, with the same session; what is compared is the median of the rounds' ratios. Reading, decoding, preprocessing and
the model count in the one; the model alone in the others: called by one thread, and by as many as evaluation has.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tarfile
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from results import save

from edgeclip.base.console import console
from edgeclip.chain.demo.openmoji import load_openmoji
from edgeclip.evaluation.embed import BATCH, WORKERS, embed
from edgeclip.images.datasets import open_dataset
from edgeclip.images.labelled import Dataset
from edgeclip.runtime.bundle import Bundle
from edgeclip.runtime.onnxencoder import OnnxEncoder

SHARD = 2500


def write_shards(folder: Path, images: int) -> None:
    """The demo's drawings over and over, as PNG files in tar shards."""
    drawings = []
    for emoji in load_openmoji():
        buffer = io.BytesIO()
        emoji.image.save(buffer, "PNG")
        drawings.append(buffer.getvalue())
    (folder / "test").mkdir(parents=True)
    shards = -(-images // SHARD)
    for shard in range(shards):
        with tarfile.open(folder / f"test/{shard}.tar", "w") as archive:
            for number in range(shard * SHARD, min(images, (shard + 1) * SHARD)):
                row = number % len(drawings)
                for suffix, content in (("png", drawings[row]), ("cls", str(row).encode())):
                    entry = tarfile.TarInfo(f"s{number:07d}.{suffix}")
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))
    (folder / "test/nshards.txt").write_text(str(shards))
    (folder / "classnames.txt").write_text("\n".join(f"drawing {row}" for row in range(len(drawings))))


def from_shards(encoder: OnnxEncoder, dataset: Dataset, workers: int) -> float:
    """Images a second."""
    start = time.perf_counter()
    found = embed(encoder, dataset, workers=workers)
    return len(found.labels) / (time.perf_counter() - start)


def from_tensors(encoder: OnnxEncoder, pixels: np.ndarray, images: int, callers: int) -> float:
    """Images a second, of the model alone, called by that many threads."""
    start = time.perf_counter()
    with ThreadPoolExecutor(callers) as pool:
        done = sum(len(part) for part in pool.map(encoder.encode_pixels, [pixels] * (images // len(pixels))))
    return done / (time.perf_counter() - start)


def main() -> None:
    """Write the shards, take turns, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--threads", type=int, default=None)
    asked = parser.parse_args()
    console.quiet = True
    encoder = Bundle.open(asked.bundle).encoder(asked.precision, threads=asked.threads)
    with tempfile.TemporaryDirectory() as scratch:
        write_shards(Path(scratch) / "wds", asked.images)
        dataset = open_dataset(Path(scratch) / "wds")
        some = [image for (image, _), _ in zip(dataset, range(BATCH), strict=False)]
        pixels = encoder.preprocess(some)
        ways = {
            "one caller": lambda: from_tensors(encoder, pixels, asked.images, 1),
            "from shards": lambda: from_shards(encoder, dataset, asked.workers),
            "as many callers": lambda: from_tensors(encoder, pixels, asked.images, asked.workers),
        }
        rounds = [{name: way() for name, way in ways.items()} for _ in range(asked.rounds + 1)]
    del rounds[0]  # a warm-up
    speed = {name: statistics.median(turn[name] for turn in rounds) for name in ways}
    ratio = {n: statistics.median(turn["from shards"] / turn[n] for turn in rounds) for n in ways if n != "from shards"}
    print(", ".join(f"{name} {value:.0f} images/s" for name, value in speed.items()))
    print(", ".join(f"{value:.1%} of the model's speed with {name}" for name, value in ratio.items()))
    found = {"bundle": asked.bundle.name, "precision": asked.precision, "images": asked.images, "batch": BATCH}
    save("evaluation_throughput", {**found, "workers": asked.workers, "speed": speed, "ratio": ratio, "rounds": rounds})


if __name__ == "__main__":
    main()
