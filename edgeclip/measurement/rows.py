"""From what was measured of one stage to its row in the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from ..comparison.answers import AnswerComparison, changed_classes, compare_answers, confusions
from ..comparison.embeddings import cosines, nearer
from ..evaluation.intervals import wilson
from .results import TowerResult
from .schema import EndToEnd, HotSpot, Row, Sustained, Timing

if TYPE_CHECKING:
    from ..evaluation.zeroshot import ZeroShot

MOST_BROKEN = 200  # pairs of classes: more than a plot has room for


def accuracy_columns(result: ZeroShot, other: ZeroShot | None, classnames: Sequence[str]) -> dict[str, Any]:
    """Top-k with its interval; agreement, flips and cosine where there is another stage to compare it with."""
    columns: dict[str, Any] = {
        "top1": result.top1,
        "top5": result.top5,
        "top1_interval": wilson(result.top1, len(result.labels)),
    }
    columns["mean_per_class"] = result.mean_per_class if result.labels.ndim == 1 else None
    columns["calibration_error"] = result.calibration_error
    columns["right"] = "".join("01"[int(answer)] for answer in result.right)
    columns["answers"] = result.predictions.tolist()
    if other is None or len(other.labels) != len(result.labels):
        return columns
    compared = compare_answers(result.predictions, other.predictions, result.right, other.right)
    columns |= changed_columns(compared) | {"p_value": compared.p_value}
    if result.labels.ndim == 1:
        for name, sign in (("losers", -1), ("winners", 1)):
            columns[name] = changed_classes(result, other, classnames, sign)
        columns["broken"] = confusions(result, other, classnames)[:MOST_BROKEN]
    if other.image_embeds.shape == result.image_embeds.shape:
        cosine = cosines(result.image_embeds, other.image_embeds)
        columns |= {"cosine_mean": float(cosine.mean()), "cosine_worst": float(cosine.min())}
        columns["nearer"] = nearer(result.image_embeds, other.image_embeds)
    return columns


def changed_columns(compared: AnswerComparison) -> dict[str, Any]:
    """What changed against another stage, as columns of a :class:`~edgeclip.measurement.schema.Row`."""
    return {
        "agreement": compared.agreement,
        "flip_rate": 1 - compared.agreement,
        "flip_interval": compared.flip_interval,
        "lost": compared.lost / compared.images,
        "won": compared.won / compared.images,
    }


def device_columns(result: TowerResult) -> dict[str, Any]:
    """A row of :func:`edgeclip.measurement.bench.bench` as columns of a :class:`~edgeclip.measurement.schema.Row`."""
    columns: dict[str, Any] = {"failed": result.failed, "timing": timing(result), "throughput": result.throughput}
    if opened := result.opened:
        columns |= {name: getattr(opened, name) for name in ("import_ms", "load_ms", "first_ms", "peak_memory_mb")}
        columns["runtime"] = f"{opened.engine} {opened.version}"
        columns |= {"provider": opened.asked_provider, "providers": opened.providers}
    if end := result.end_to_end:
        total = end.total_ms
        columns["end_to_end"] = EndToEnd(**{**asdict(end), "total_ms": total["p50"], "total_p90_ms": total["p90"]})
    if hot := result.hot_spots:
        columns["hot_spots"] = [HotSpot(**asdict(share)) for share in hot.operators]
        columns |= {"fell_back": hot.fell_back, "on_provider": hot.on_provider}
    if used := result.energy:
        columns |= {"energy_mj": used.millijoules_per_image, "energy_sensor": used.sensor}
    if ran := result.sustained:
        columns["sustained"] = Sustained(**{name: getattr(ran, name) for name in Sustained.model_fields})
    return columns


def timing(result: TowerResult) -> Timing | None:
    """The latency of a row, where it was measured."""
    if result.latency is None:
        return None
    ms = result.samples_ms
    cuts = {f"{name}_ms": value for name, value in result.latency.items()}
    spread = (cuts["p90_ms"] - float(np.percentile(ms, 10))) / cuts["p50_ms"]
    return Timing(**cuts, spread=spread, samples=len(ms), raw_ms=ms, turns=result.turns)


def make_row(stage: str, accuracy: Mapping[str, Any], device: Mapping[str, Any], **facts: Any) -> Row:
    """Join the columns; what the device tells comes after the facts, and replaces them."""
    return Row(stage=stage, **{**facts, **accuracy, **device})
