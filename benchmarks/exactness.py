"""Does `edgeclip eval` give the numbers that the field would get? One data set in three layouts, three evaluators.

    python benchmarks/exactness.py [MODEL ...]      # default: demo; a run's folder too

Each model is read by open_clip itself from its hub layout. open_clip's own zero-shot code classifies a torchvision
ImageFolder; CLIP_benchmark's reads the tar shards that its own exporter wrote; edgeclip reads the folder, the shards,
and the ImageFolder through torchvision. Differences are in points of accuracy; on the same features they must be 0.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import clip_benchmark.webdataset_builder as builder
import numpy as np
import open_clip
import torch
from clip_benchmark.datasets.builder import build_dataset
from clip_benchmark.metrics import zeroshot_classification as peer
from open_clip_train import zero_shot as open_clip_zero_shot
from torchvision.datasets import ImageFolder

import edgeclip
from edgeclip.chain.loading import demo_teacher
from edgeclip.ecosystem.clip_benchmark import number
from edgeclip.evaluation import evaluate
from edgeclip.images.datasets import open_dataset
from edgeclip.images.labelled import Dataset

BATCH = 64
for module in (open_clip_zero_shot, peer):
    module.float = number  # type: ignore[attr-defined]  # see there: both fail on a recent numpy
Figures = dict[str, float]


class Listed(list):
    """Paths and labels as CLIP_benchmark's exporter takes them."""

    classes: list[str]
    templates: list[str]


def export_shards(dataset: Dataset, folder: Path) -> None:
    """Write ``dataset`` in the WebDataset layout with CLIP_benchmark's own exporter."""
    listed = Listed((str(example.path), example.label) for example in dataset.source)  # type: ignore[attr-defined]
    listed.classes = dataset.classnames
    listed.templates = [template.replace("{}", "{c}") for template in dataset.templates]
    builder.convert_dataset(
        listed, "test", str(folder), transform=builder.path_to_bytes, image_format="png", max_count=400, verbose=False
    )


def open_with_open_clip(folder: Path) -> tuple[Any, Any, Any]:
    """Model, transform and tokenizer, from stock open_clip alone."""
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    return model.eval(), transform, open_clip.get_tokenizer(f"local-dir:{folder}")


def of_open_clip(model: Any, transform: Any, tokenizer: Any, dataset: Dataset, folder: Path) -> Figures:
    """open_clip's zero-shot evaluation of the folders."""
    loader = torch.utils.data.DataLoader(ImageFolder(str(folder), transform), batch_size=BATCH)
    classifier = open_clip.build_zero_shot_classifier(model, tokenizer, dataset.classnames, dataset.templates)
    top1, top5 = open_clip_zero_shot.run(
        model, classifier, loader, SimpleNamespace(device="cpu", precision="fp32", batch_size=BATCH)
    )
    return {"top1": top1, "top5": top5}


def of_clip_benchmark(model: Any, transform: Any, tokenizer: Any, shards: Path) -> Figures:
    """CLIP_benchmark's zero-shot evaluation of the shards."""
    data = build_dataset("wds/exactness", root=str(shards), transform=transform, split="test", download=False)
    loader = torch.utils.data.DataLoader(data.batched(BATCH), batch_size=None)
    found = peer.evaluate(model, loader, tokenizer, data.classes, data.templates, device="cpu", amp=False)
    return {"top1": found["acc1"], "top5": found["acc5"], "mean_per_class": found["mean_per_class_recall"]}


def on_the_same_features(result: Any) -> Figures:
    """Both peers' own counting, given edgeclip's embeddings."""
    logits = 100 * torch.from_numpy(result.image_embeds) @ torch.from_numpy(result.class_embeds).T
    labels = torch.from_numpy(result.labels)
    top1, top5 = open_clip_zero_shot.accuracy(logits, labels, topk=(1, 5))
    theirs = peer.accuracy(logits, labels, topk=(1, 5))
    assert np.allclose(theirs, [top1 / len(labels), top5 / len(labels)])
    recall = peer.balanced_accuracy_score(labels, logits.argmax(axis=1))
    return {"top1": theirs[0], "top5": theirs[1], "mean_per_class": recall}


def compare(name: str, hub_layout: Path, folder: Path, shards: Path) -> dict[str, Any]:
    """All evaluators on one model. ``folder`` and ``shards`` hold the same images."""
    encoder = edgeclip.load(name)
    layouts = {"folders": folder, "shards": shards, "torchvision": f"torchvision:ImageFolder:{folder}"}
    ours, same = {}, {}
    for layout, where in layouts.items():
        result = evaluate(encoder, open_dataset(where))
        ours[layout] = {"top1": result.top1, "top5": result.top5, "mean_per_class": result.mean_per_class}
        same[layout] = on_the_same_features(result)
    stock = open_with_open_clip(hub_layout)
    peers = {
        "open_clip": of_open_clip(*stock, open_dataset(folder), folder),
        "clip_benchmark": of_clip_benchmark(*stock, shards),
    }
    return {
        "edgeclip": ours,
        "peers": peers,
        "same_features_points": max(abs(ours[at][k] - same[at][k]) for at in ours for k in same[at]) * 100,
        "end_to_end_points": max(abs(own[k] - p[k]) for own in ours.values() for p in peers.values() for k in p) * 100,
    }


def main() -> None:
    """Write the demo's held-out emoji in all layouts, compare on each model, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["demo"])
    from results import save

    from edgeclip.chain.demo.openmoji import write_dataset

    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        write_dataset(Path(scratch) / "data")
        folder, shards = Path(scratch) / "data/heldout", Path(scratch) / "shards"
        export_shards(open_dataset(folder), shards)
        for name in parser.parse_args().models:
            layout = demo_teacher() if name == "demo" else Path(name) / "student"
            found[name] = compare(name, layout, folder, shards)
            print(name, found[name], file=sys.stderr)
    save("exactness", {"models": found})


if __name__ == "__main__":
    main()
