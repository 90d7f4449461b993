"""A chain of encoders and a dataset in, the report's rows out: accuracy one by one, latency in turns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .console import progress_bar
from .evaluate import evaluate
from .report.schema import Row, Timing
from .runtime.timing import Samples, interleaved

if TYPE_CHECKING:
    from .encoder import PixelEncoder
    from .evaluate.datasets import Dataset
    from .evaluate.zeroshot import ZeroShot

RAW_KEPT = 500  # samples a row that the report keeps for its plots


@dataclass(frozen=True)
class Stage:
    """One link of the chain from the teacher to the artefact on the device."""

    name: str
    encoder: PixelEncoder
    compared_to: str | None = None  # the stage that its embeddings and answers are held against
    predicted_ms: float | None = None
    recommended: bool = False


def measure(stages: Sequence[Stage], dataset: Dataset, *, seconds: float) -> list[Row]:
    """Measure every stage on ``dataset``, and all of them in turns on one image, for ``seconds`` together.

    Latency is that of the image tower alone, for one preprocessed image.

    Raises:
        EdgeclipError: too many of the dataset's images cannot be read.
    """
    results = {stage.name: evaluate(stage.encoder, dataset, title=f"zero-shot, {stage.name}") for stage in stages}
    samples = _latency(stages, dataset, seconds)
    return [_row(stage, results, samples[stage.name]) for stage in stages]


def _latency(stages: Sequence[Stage], dataset: Dataset, seconds: float) -> dict[str, Samples]:
    image, _ = next(iter(dataset))
    pixels = {stage.name: stage.encoder.preprocess([image]) for stage in stages}
    runs = {stage.name: (lambda s=stage: s.encoder.encode_pixels(pixels[s.name])) for stage in stages}
    with progress_bar("latency", seconds) as bar:
        return interleaved(runs, seconds=seconds, on_round=bar.advance)


def _row(stage: Stage, results: dict[str, ZeroShot], samples: Samples) -> Row:
    own = results[stage.name]
    other = results[stage.compared_to] if stage.compared_to else None
    same_space = other is not None and other.image_embeds.shape == own.image_embeds.shape
    cosine = (own.image_embeds.astype(np.float64) * other.image_embeds).sum(axis=1) if same_space and other else None
    return Row(
        stage=stage.name,
        top1=own.top1,
        top5=own.top5,
        cosine_mean=None if cosine is None else float(cosine.mean()),
        cosine_worst=None if cosine is None else float(cosine.min()),
        compared_to=stage.compared_to,
        agreement=None if other is None else float((own.predictions == other.predictions).mean()),
        size_bytes=stage.encoder.image_bytes,
        timing=Timing(
            p50_ms=samples.p50,
            p90_ms=samples.p90,
            p99_ms=samples.p99,
            samples=len(samples.ms),
            raw_ms=[round(float(ms), 4) for ms in samples.ms[:: max(1, -(-len(samples.ms) // RAW_KEPT))]],
        ),
        predicted_ms=stage.predicted_ms,
        runtime=stage.encoder.runtime,
        recommended=stage.recommended,
    )
