"""Measure a model on data sets: find them, run the task, say what is missing."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..console import say
from ..errors import EdgeclipError, MissingExtra

if TYPE_CHECKING:
    from ..encoder import Encoder
    from ..evaluate.datasets import Dataset
    from ..evaluate.results import Evaluation, Score, Task
    from ..evaluate.retention import Retention
    from ..evaluate.suite import Entry

DEFAULT_SUITE = "openmoji"
NOTO = ("noto-names", "noto-categories")


@dataclass(frozen=True)
class Asked:
    """How to measure."""

    task: Task = "zero-shot"
    metric: str = "accuracy"
    shots: int = 5  # examples a class of a few-shot probe
    train: str | None = None  # where the training split lies, if not in the data set itself


def evaluate_dataset(model: str, where: str, asked: Asked) -> Score:
    """One model on one data set.

    Raises:
        EdgeclipError: no such model or data set, or one that the task cannot use.
    """
    from .. import load
    from ..evaluate.datasets import open_dataset

    return _score(load(model), model, open_dataset(where), where, asked)


def evaluate_suite(model: str, suite: str, data: Path | None, asked: Asked, *, hub: bool = False) -> Evaluation:
    """One model on all sets of a suite that are below ``data`` (or on the hub); the others are named.

    Raises:
        EdgeclipError: no such model or suite, or not one of its sets is at hand.
    """
    from .. import load
    from ..evaluate.results import Evaluation, Missing
    from ..evaluate.suite import load_suite, locate, open_entry, remarks

    wanted, encoder = load_suite(suite), load(model)
    scores: list[Score] = []
    missing: list[Missing] = []
    for entry in wanted.datasets:
        own = _built_in(entry)
        where = own or locate(entry, data, hub=hub)
        if where is None:
            missing.append(Missing(dataset=entry.name, why=f"not found; get it: {entry.get}"))
            continue
        try:
            dataset = _open_built_in(entry.name, where) if own else open_entry(entry, where)
            one = _score(encoder, model, dataset, where, Asked(asked.task, entry.metric, asked.shots))
        except EdgeclipError as error:
            missing.append(Missing(dataset=entry.name, why=str(error)))
            say(f"{entry.name}: {error}")
            continue
        scores.append(one.model_copy(update={"dataset": entry.name, "remarks": remarks(entry, dataset)}))
    if not scores:
        where_to = "; ".join(f"{m.dataset}: {m.why}" for m in missing)
        raise EdgeclipError(f"none of {wanted.name}'s sets is at hand (--data FOLDER, --hub): {where_to}")
    return Evaluation(model=model, suite=wanted.name, scores=scores, missing=missing)


def compare(models: Sequence[str], where: str) -> Retention:
    """The first model's answers on a data set beside those of the others.

    Raises:
        EdgeclipError: fewer than two models, no such model or data set, or images of several classes.
    """
    from .. import load
    from ..evaluate import evaluate
    from ..evaluate.datasets import open_dataset
    from ..evaluate.retention import retention

    if len(set(models)) < 2:
        raise EdgeclipError("retention needs two models: the reference first, then what was made of it")
    dataset = open_dataset(where)
    results = {name: evaluate(load(name), dataset, title=f"zero-shot, {name}") for name in models}
    return retention(results, dataset.classnames, dataset=dataset.name)


def shift(encoders: Mapping[str, Encoder], heldout: Path, file: Path | None = None) -> dict[str, dict[str, float]]:
    """The demo's emoji by another hand: accuracy of each encoder, by name among the same names, and by category.

    Args:
        encoders: what to measure, by name.
        heldout: the demo's held-out emoji; their names and templates are used.
        file: the tar of Noto's drawings; what ``EDGECLIP_NOTO`` names where None.

    Returns:
        encoder -> ``names`` and ``categories``: top-1 on Noto's drawings, 0..1; ``names_before``: top-1 on the drawings
        of the same emoji in ``heldout``, among the same names; ``names_images`` and ``categories_images``: counts.
        Empty, and said, where there is no such file.

    Raises:
        FormatError: the file is not as it should be.
    """
    import numpy as np

    from ..evaluate import evaluate
    from ..evaluate.datasets import open_dataset
    from ..evaluate.noto import ENVIRONMENT, open_noto_categories, open_noto_names

    found = file or _noto_file()
    if found is None:
        say(f"no shift is measured: {ENVIRONMENT} names no tar of Noto emoji")
        return {}
    own = open_dataset(heldout)
    names, categories = open_noto_names(found, own), open_noto_categories(found, own.templates)
    rows: dict[str, dict[str, float]] = {}
    for name, encoder in encoders.items():
        before = evaluate(encoder, own, title=f"before the shift, {name}")
        shifted = evaluate(encoder, names, title=f"shift, names, {name}")
        general = evaluate(encoder, categories, title=f"shift, categories, {name}")
        rows[name] = {
            "names_before": float(before.right[np.isin(before.labels, shifted.labels)].mean()),
            "names": shifted.top1,
            "names_images": len(shifted.labels),
            "categories": general.top1,
            "categories_images": len(general.labels),
        }
    return rows


def _score(encoder: Encoder, model: str, dataset: Dataset, where: str, asked: Asked) -> Score:
    """Run the task."""
    from ..evaluate.results import Score

    tasks: dict[Task, Callable[..., dict[str, Any]]] = {
        "zero-shot": _zero_shot,
        "linear-probe": partial(_probe, where=where),
        "few-shot": partial(_probe, where=where),
        "retrieval": _retrieval,
    }
    if asked.task != "retrieval" and not dataset.classnames:
        raise EdgeclipError(f"{dataset.name} has captions, not classes: --task retrieval")
    facts = tasks[asked.task](encoder, dataset, asked)
    counts = {"classes": len(dataset.classnames), "templates": len(dataset.templates)}
    return Score(model=model, dataset=dataset.name, task=asked.task, **{**counts, **facts})


def _zero_shot(encoder: Encoder, dataset: Dataset, asked: Asked) -> dict[str, Any]:
    import numpy as np

    from ..evaluate import evaluate
    from ..evaluate.results import ClassScore

    result = evaluate(encoder, dataset)
    value, (low, high) = result.score(asked.metric, sure=True)  # type: ignore[arg-type, misc]
    facts = {"metric": asked.metric, "value": value, "low": low, "high": high, "images": len(result.labels)}
    facts |= {"top1": result.top1, "top5": result.top5}
    if dataset.several:
        return facts
    count = np.bincount(result.labels, minlength=len(dataset.classnames))
    rows = zip(dataset.classnames, count.tolist(), result.recall_per_class.tolist(), strict=True)
    per_class = [ClassScore(name=name, images=images, recall=recall) for name, images, recall in rows if images]
    return {**facts, "mean_per_class": result.mean_per_class, "per_class": per_class}


def _probe(encoder: Encoder, dataset: Dataset, asked: Asked, *, where: str) -> dict[str, Any]:
    from ..evaluate.datasets import open_dataset
    from ..evaluate.embed import embed
    from ..evaluate.metrics import interval
    from ..evaluate.probe import few_shot, linear_probe

    training = open_dataset(asked.train) if asked.train else open_dataset(where, "train")
    if training.classnames != dataset.classnames:
        raise EdgeclipError(f"{training.name}: its training split has other classes than its test split")
    train = embed(encoder, training, title="train split")
    test, classes = embed(encoder, dataset, title="test split"), len(dataset.classnames)
    counts = {"images": len(test.labels), "metric": "accuracy", "templates": 0}
    if asked.task == "few-shot":
        few = few_shot(train, test, classes, asked.shots)
        draws = {f"draw {number}": value for number, value in enumerate(few.draws)}
        return {**counts, "value": few.top1, "top1": few.top1, "more": {"shots": few.shots, "sd": few.spread, **draws}}
    probe = linear_probe(train, test, classes)
    low, high = interval(lambda right: float(right.mean()), probe.predictions == probe.labels)
    facts = {"value": probe.top1, "low": low, "high": high, "top1": probe.top1, "mean_per_class": probe.mean_per_class}
    return {**counts, **facts, "more": {"C": probe.strength, "train_images": len(train.labels)}}


def _retrieval(encoder: Encoder, dataset: Dataset, asked: Asked) -> dict[str, Any]:
    from ..evaluate.retrieval import retrieve

    found = retrieve(encoder, dataset)
    recalls, (low, high) = found.recall(), found.intervals()["image_recall@1"]
    counts = {"images": len(found.text_ranks), "templates": 0}
    return {**counts, "metric": "image_recall@1", "value": recalls["image_recall@1"], "low": low, "high": high} | {
        "more": {**recalls, "captions": len(found.image_ranks)}
    }


def _built_in(entry: Entry) -> str | None:
    """Where a set that the package itself can make lies: made when it is first asked for."""
    if entry.name in NOTO:
        return str(_noto_file() or "") or None
    if entry.name != DEFAULT_SUITE:
        return None
    try:
        return str(_openmoji())
    except MissingExtra:
        return None


def _open_built_in(name: str, where: str) -> Dataset:
    from ..evaluate.datasets import open_dataset
    from ..evaluate.noto import open_noto_categories, open_noto_names

    if name == DEFAULT_SUITE:
        return open_dataset(where)
    own = open_dataset(_openmoji())
    return open_noto_names(Path(where), own) if name == NOTO[0] else open_noto_categories(Path(where), own.templates)


def _openmoji() -> Path:
    """The demo's held-out emoji, written once into the cache."""
    from .. import __version__
    from ..demo.openmoji import write_dataset
    from ..evaluate.remote import cache_folder

    folder = cache_folder() / f"openmoji-{__version__}"
    if not (folder / "dataset.json").is_file():
        write_dataset(folder)
    return folder / "heldout"


def _noto_file() -> Path | None:
    from ..evaluate.noto import ENVIRONMENT

    named = os.environ.get(ENVIRONMENT)
    if named and not Path(named).is_file():
        raise EdgeclipError(f"{ENVIRONMENT} names {named}, which is no file")
    return Path(named) if named else None
