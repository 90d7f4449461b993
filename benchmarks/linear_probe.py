"""How fast and how good is the linear probe? Against CLIP_benchmark's and scikit-learn's on the same features.

    python -O benchmarks/linear_probe.py [--rounds 3]

10,000 training features of 512 numbers in 100 classes, 2,000 for validation, 10,000 for testing. CLIP_benchmark's probe
asserts a GPU ("too slow" else): `python -O` takes the assertion out, and `.cuda()` is made to stay where it is, so its
own code runs on the CPU, at its own settings (batches of 64, 10 epochs, a sweep over 97 weight decays). Both sweep and
fit; scikit-learn fits once at the strength that edgeclip chose, to be compared in accuracy.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from clip_benchmark.metrics import linear_probe as peer
from results import save
from sklearn.linear_model import LogisticRegression

from edgeclip.ecosystem.clip_benchmark import number
from edgeclip.evaluation.embed import Embedded
from edgeclip.evaluation.probe import linear_probe

ROWS, DIM, CLASSES = 10_000, 512, 100


def features(seed: int = 0) -> dict[str, Embedded]:
    """Overlapping clusters on the sphere: train, val and test."""
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(CLASSES, DIM))

    def sample(count: int) -> Embedded:
        labels = draw.integers(0, CLASSES, count)
        rows = centres[labels] + 5.0 * draw.normal(size=(count, DIM))
        return Embedded((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), labels, [])

    return {"train": sample(ROWS), "val": sample(ROWS // 5), "test": sample(ROWS)}


def of_clip_benchmark(data: dict[str, Embedded]) -> dict[str, Any]:
    """CLIP_benchmark's sweep and fit, from the features that it would have cached."""
    with tempfile.TemporaryDirectory() as scratch:
        cache = Path(scratch) / "model"
        cache.mkdir()
        for split, rows in data.items():
            torch.save(torch.from_numpy(rows.image_embeds), cache / f"features_{split}.pt")
            torch.save(torch.from_numpy(rows.labels), cache / f"targets_{split}.pt")
        told = {"fewshot_k": -1, "batch_size": 64, "num_workers": 0, "lr": 0.1, "epochs": 10, "seed": 0}
        told |= {"model_id": "model", "feature_root": scratch, "device": "cpu", "amp": False}
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return peer.evaluate(torch.nn.Identity(), None, None, val_dataloader=[], **told)


def main() -> None:
    """Take turns, compare, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    if __debug__:
        parser.error("run it as python -O: see --help")
    warnings.simplefilter("ignore")
    torch.nn.Module.cuda = torch.Tensor.cuda = lambda self, *_: self  # type: ignore[method-assign, assignment]
    peer.accuracy.__globals__["float"] = number
    data = features()
    ours, theirs = [], []
    for _ in range(asked.rounds):
        start = time.perf_counter()
        probe = linear_probe(data["train"], data["test"], CLASSES, val=data["val"])
        ours.append(time.perf_counter() - start)
        start = time.perf_counter()
        other = of_clip_benchmark(data)
        theirs.append(time.perf_counter() - start)
        print(f"edgeclip {ours[-1]:.1f} s, CLIP_benchmark {theirs[-1]:.1f} s", flush=True)
    both = {
        name: np.concatenate([getattr(data[s], name) for s in ("train", "val")]) for name in ("image_embeds", "labels")
    }
    model = LogisticRegression(C=probe.strength, max_iter=5000, tol=1e-6).fit(both["image_embeds"], both["labels"])
    sklearn = float(model.score(data["test"].image_embeds, data["test"].labels))
    ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
    print(f"top-1: edgeclip {probe.top1:.4f}, scikit-learn {sklearn:.4f}, CLIP_benchmark {other['lp_acc1']:.4f}")
    print(
        f"{ratio:.1f} times as fast as CLIP_benchmark; {abs(probe.top1 - sklearn) * 100:.2f} points from scikit-learn"
    )
    found = {"rows": ROWS, "dim": DIM, "classes": CLASSES, "cores": os.cpu_count(), "C": probe.strength}
    found |= {"edgeclip_seconds": ours, "clip_benchmark_seconds": theirs, "ratio": ratio}
    top1 = {"edgeclip": probe.top1, "scikit-learn": sklearn, "clip_benchmark": other["lp_acc1"]}
    save("linear_probe", {**found, "top1": top1, "points_from_scikit_learn": abs(probe.top1 - sklearn) * 100})


if __name__ == "__main__":
    main()
