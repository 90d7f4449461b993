"""The tasks: zero-shot, probes and retrieval, of any Encoder on any data set, as one kind of result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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
    ground: str | None = None  # what transparent pixels lie on, rrggbb; None: as the model does


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
    refuse_unfit(dataset, task)
    if task.task == "zero-shot":
        return _zero_shot(encoder, model, dataset, task)
    if task.task == "retrieval":
        return _retrieval(encoder, model, dataset)
    train, test = _train_and_test(encoder, dataset, task, where)
    probe = _few_shot if task.task == "few-shot" else _linear_probe
    return probe(train, test, model, dataset, task)


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


def _zero_shot(encoder: Encoder, model: str, dataset: Dataset, task: EvaluationTask) -> Score:
    import numpy as np

    from .chance import chance_level, doubts
    from .results import ClassScore, Score
    from .zeroshot import evaluate

    result = evaluate(encoder, dataset)
    value, (low, high) = result.score(task.metric, sure=True)  # type: ignore[arg-type, misc]
    chance = chance_level(result.labels, len(dataset.classnames))
    score = Score(
        model=model,
        dataset=dataset.name,
        task="zero-shot",
        metric=task.metric,
        value=value,
        low=low,
        high=high,
        images=len(result.labels),
        classes=len(dataset.classnames),
        templates=len(dataset.templates),
        chance=chance,
        top1=result.top1,
        top5=result.top5,
        remarks=doubts(result.predictions, result.labels, result.top1, chance),
    )
    if dataset.several:
        return score
    count = np.bincount(result.labels, minlength=len(dataset.classnames))
    rows = zip(dataset.classnames, count.tolist(), result.recall_per_class.tolist(), strict=True)
    score.per_class = [ClassScore(name=name, images=images, recall=recall) for name, images, recall in rows if images]
    score.mean_per_class, score.calibration_error = result.mean_per_class, result.calibration_error
    return score


def _few_shot(train: Embedded, test: Embedded, model: str, dataset: Dataset, task: EvaluationTask) -> Score:
    from .probe import few_shot
    from .results import Score

    few = few_shot(train, test, len(dataset.classnames), task.shots)
    draws = {f"draw {number}": value for number, value in enumerate(few.draws)}
    return Score(
        model=model,
        dataset=dataset.name,
        task="few-shot",
        metric="accuracy",
        value=few.top1,
        images=len(test.labels),
        classes=len(dataset.classnames),
        templates=0,
        top1=few.top1,
        more={"shots": few.shots, "sd": few.spread, **draws},
    )


def _linear_probe(train: Embedded, test: Embedded, model: str, dataset: Dataset, task: EvaluationTask) -> Score:
    from .metrics import interval
    from .probe import linear_probe
    from .results import Score

    probe = linear_probe(train, test, len(dataset.classnames))
    low, high = interval(lambda right: float(right.mean()), probe.predictions == probe.labels)
    return Score(
        model=model,
        dataset=dataset.name,
        task="linear-probe",
        metric="accuracy",
        value=probe.top1,
        low=low,
        high=high,
        images=len(test.labels),
        classes=len(dataset.classnames),
        templates=0,
        top1=probe.top1,
        mean_per_class=probe.mean_per_class,
        more={"C": probe.strength, "train_images": len(train.labels)},
    )


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


def _retrieval(encoder: Encoder, model: str, dataset: Dataset) -> Score:
    from .results import Score
    from .retrieval import retrieve

    retrieved = retrieve(encoder, dataset)
    recalls, (low, high) = retrieved.recall(), retrieved.intervals()["image_recall@1"]
    return Score(
        model=model,
        dataset=dataset.name,
        task="retrieval",
        metric="image_recall@1",
        value=recalls["image_recall@1"],
        low=low,
        high=high,
        images=len(retrieved.text_ranks),
        classes=len(dataset.classnames),
        templates=0,
        more={**recalls, "captions": len(retrieved.image_ranks)},
    )
