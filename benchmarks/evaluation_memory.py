"""How much memory does a zero-shot evaluation of ImageNet's shape take, beyond its features?

    python benchmarks/evaluation_memory.py [--images 50000] [--classes 1000]

Synthetic embeddings, held against class embeddings: top-1, top-5, mean per class, calibration error and the bootstrap
interval. What counts is the peak of the process after the features were there, less what it held then (Linux).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import results

from edgeclip.evaluation.embed import Embedded
from edgeclip.evaluation.zeroshot import classify

DIM = 512


def held(name: str) -> float:
    """``VmRSS`` or ``VmHWM`` of this process, MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1000


def unit(draw: np.random.Generator, count: int) -> np.ndarray:
    """Random embeddings, float32 ``[count, DIM]``."""
    rows = draw.normal(size=(count, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def main() -> None:
    """Measure once, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--classes", type=int, default=1000)
    asked = parser.parse_args()
    draw = np.random.default_rng(0)
    images, classes = unit(draw, asked.images), unit(draw, asked.classes)
    features = Embedded(images, draw.integers(0, asked.classes, asked.images), [])
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, start = held("VmRSS"), time.perf_counter()
    found = classify(features, classes)
    value, _ = found.score("accuracy", sure=True)
    assert 0 <= value <= 1 and 0 <= found.calibration_error <= 1 and 0 <= found.mean_per_class <= 1
    beyond, seconds = held("VmHWM") - before, time.perf_counter() - start
    print(f"{beyond:.0f} MB beyond the features ({features.image_embeds.nbytes / 1e6:.0f} MB), {seconds:.1f} s")
    shape = {"images": asked.images, "classes": asked.classes, "dim": DIM}
    results.save("evaluation_memory", {"shape": shape, "beyond_features_mb": beyond, "seconds": seconds})


if __name__ == "__main__":
    main()
