"""The tasks: zero-shot, probes and retrieval, of any Encoder on any data set, as one kind of result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ..base.console import say
from ..base.errors import EdgeclipError

if TYPE_CHECKING:
    from ..encoder import Encoder
    from ..images.labelled import Dataset
    from .embed import Embedded
    from .results import Score, Task


@dataclass(frozen=True)
class EvaluationTask:
    """How to measure."""

    task: Task = "zero-shot"
    metric: str = "accuracy"
    shots: int = 5  # examples a class of a few-shot probe
    train: str | None = None  # where the training split lies, if not in the data set itself
    keep_duplicates: bool = False  # classes of one name stay several


def score(encoder: Encoder, model: str, dataset: Dataset, where: str, task: EvaluationTask) -> Score:
    """Run the task that was asked for.

    Args:
        encoder: what is measured.
        model: what it is called.
        dataset: the images, opened.
        where: where they lie: a probe's training split is looked for there.
        task: what is measured, and how.

    Raises:
        EdgeclipError: the data set cannot be used for the task.
    """
    from .results import Score

    refuse_unfit(dataset, task)
    tasks: dict[Task, Callable[..., dict[str, Any]]] = {
        "zero-shot": _zero_shot,
        "linear-probe": partial(_probe, where=where),
        "few-shot": partial(_probe, where=where),
        "retrieval": _retrieval,
    }
    facts = tasks[task.task](encoder, dataset, task)
    counts = {"classes": len(dataset.classnames), "templates": len(dataset.templates)}
    return Score(model=model, dataset=dataset.name, task=task.task, **{**counts, **facts})


def refuse_unfit(dataset: Dataset, task: EvaluationTask) -> None:
    """Refuse before any image is looked at what could not be counted after all were.

    Raises:
        EdgeclipError: the task or its metric is for other labels than the data set has.
    """
    name, classes = dataset.name, len(dataset.classnames)
    if task.task == "retrieval":
        return
    if not classes:
        raise EdgeclipError(f"{name} has captions, not classes: --task retrieval")
    if classes == 1:
        raise EdgeclipError(f"{name} has one class, {dataset.classnames[0]}: nothing can be taken for another there")
    if task.task != "zero-shot":
        return
    if task.metric in ("map", "map-11") and not dataset.several:
        raise EdgeclipError(f"{task.metric} is of images that may be of several classes, and those of {name} are not")
    if task.metric == "mean-per-class" and dataset.several:
        raise EdgeclipError(f"images of {name} may be of several classes: --metric map or map-11")
    if task.metric == "roc-auc" and classes != 2:
        raise EdgeclipError(f"roc-auc is of two classes, and {name} has {classes}")


def _zero_shot(encoder: Encoder, dataset: Dataset, task: EvaluationTask) -> dict[str, Any]:
    import numpy as np

    from .chance import chance_level, doubts
    from .results import ClassScore
    from .zeroshot import evaluate

    result = evaluate(encoder, dataset)
    value, (low, high) = result.score(task.metric, sure=True)  # type: ignore[arg-type, misc]
    facts = {"metric": task.metric, "value": value, "low": low, "high": high, "images": len(result.labels)}
    chance = chance_level(result.labels, len(dataset.classnames))
    facts |= {"top1": result.top1, "top5": result.top5, "chance": chance}
    facts["remarks"] = doubts(result.predictions, result.labels, result.top1, chance)
    if dataset.several:
        return facts
    count = np.bincount(result.labels, minlength=len(dataset.classnames))
    rows = zip(dataset.classnames, count.tolist(), result.recall_per_class.tolist(), strict=True)
    per_class = [ClassScore(name=name, images=images, recall=recall) for name, images, recall in rows if images]
    return {**facts, "mean_per_class": result.mean_per_class, "per_class": per_class} | {
        "calibration_error": result.calibration_error
    }


def _probe(encoder: Encoder, dataset: Dataset, task: EvaluationTask, *, where: str) -> dict[str, Any]:
    from .metrics import interval
    from .probe import few_shot, linear_probe

    (train, test), classes = _train_and_test(encoder, dataset, task, where), len(dataset.classnames)
    counts = {"images": len(test.labels), "metric": "accuracy", "templates": 0}
    if task.task == "few-shot":
        few = few_shot(train, test, classes, task.shots)
        draws = {f"draw {number}": value for number, value in enumerate(few.draws)}
        return {**counts, "value": few.top1, "top1": few.top1, "more": {"shots": few.shots, "sd": few.spread, **draws}}
    probe = linear_probe(train, test, classes)
    low, high = interval(lambda right: float(right.mean()), probe.predictions == probe.labels)
    facts = {"value": probe.top1, "low": low, "high": high, "top1": probe.top1, "mean_per_class": probe.mean_per_class}
    return {**counts, **facts, "more": {"C": probe.strength, "train_images": len(train.labels)}}


def _train_and_test(encoder: Encoder, dataset: Dataset, task: EvaluationTask, where: str) -> tuple[Embedded, Embedded]:
    """The two splits through the encoder; a folder that is not split is halved, class by class, which is said."""
    from ..images.datasets import is_unsplit, open_dataset
    from .embed import embed
    from .probe import halves

    if task.train is None and is_unsplit(where):
        say(f"{dataset.name} is not split: half of each class's images train the probe, drawn by seed 0")
        return halves(embed(encoder, dataset), dataset.classnames)
    place = (task.train,) if task.train else (where, "train")
    training = open_dataset(*place, keep_duplicates=task.keep_duplicates)
    if training.classnames != dataset.classnames:
        raise EdgeclipError(f"{training.name}: its training split has other classes than its test split")
    return embed(encoder, training, title="train split"), embed(encoder, dataset, title="test split")


def _retrieval(encoder: Encoder, dataset: Dataset, task: EvaluationTask) -> dict[str, Any]:
    from .retrieval import retrieve

    retrieved = retrieve(encoder, dataset)
    recalls, (low, high) = retrieved.recall(), retrieved.intervals()["image_recall@1"]
    counts = {"images": len(retrieved.text_ranks), "templates": 0}
    return {**counts, "metric": "image_recall@1", "value": recalls["image_recall@1"], "low": low, "high": high} | {
        "more": {**recalls, "captions": len(retrieved.image_ranks)}
    }
