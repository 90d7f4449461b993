"""Suites: lists of data sets with the metric that the field's tables give for each, as TOML."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from ..base.console import say
from ..base.documents import Document, Part, Size, read_document
from ..base.errors import EdgeclipError, did_you_mean
from ..encoder import Encoder
from ..images.datasets import open_dataset
from ..images.labelled import Dataset, Some
from ..images.location import HUB
from .metrics import Metric
from .results import Evaluation, Missing, Score
from .tasks import EvaluationTask, score

BuiltIn = Callable[[str], "tuple[str, Dataset] | None"]


class Entry(Part):
    """One data set of a suite, and what its authors say of it."""

    name: str  # the folder it is looked for in
    title: str
    metric: Metric
    classes: Size | None = None
    templates: Size | None = None
    images: Size | None = None  # of the test split
    hub: str | None = None  # USER/REPO of a hub that has it as WebDataset shards
    get: str  # where it comes from
    mask: list[int] | list[str] = []  # the classes in play, by number or name, of a source that has more


class Suite(Document):
    """``suites/NAME.toml``."""

    FORMAT: ClassVar[str] = "edgeclip-suite"

    name: str
    title: str
    sources: list[str]
    datasets: Annotated[list[Entry], Field(min_length=1)]


def suites() -> list[str]:
    """The names of the suites that come with the package."""
    return sorted(file.name.removesuffix(".toml") for file in _folder().iterdir() if file.name.endswith(".toml"))


def load_suite(name: str) -> Suite:
    """A suite by name, or from a TOML file of one's own.

    Raises:
        EdgeclipError: there is none of that name; the known ones are listed.
        FormatError: the file has faults.
    """
    file = Path(name) if name.endswith(".toml") else _folder() / f"{name}.toml"
    if not name.endswith(".toml") and name not in suites():
        raise EdgeclipError(f"no suite {name!r}; {did_you_mean(name, suites())}")
    return read_document(file, Suite)


def evaluate_suite(
    encoder: Encoder,
    model: str,
    suite: Suite,
    data: Path | None,
    task: EvaluationTask,
    *,
    hub: bool = False,
    built_in: BuiltIn | None = None,
    part: Path | None = None,
) -> Evaluation:
    """One model on all sets of a suite that are at hand; the others are named.

    Args:
        encoder: what is measured.
        model: what it is called.
        suite: the sets; each has a metric of its own.
        data: a folder with a folder for each.
        task: what is measured, and how.
        hub: fetch what is not there.
        built_in: gives those sets that need no folder, by name: where they lie, and the set; None for others.
        part: where the scores so far are kept, set by set: what is there of the same model, suite and task is not
            measured again. For encoders with a ``fingerprint``.

    Raises:
        EdgeclipError: not one of the sets is at hand.
    """
    missing: list[Missing] = []
    of = _identity(encoder, suite, data, task, hub)
    kept = _kept(part, of)
    scores: list[Score] = []
    for entry in suite.datasets:
        if entry.name in kept:
            scores.append(kept[entry.name])
            continue
        try:
            built = built_in(entry.name) if built_in else None
            where = built[0] if built else locate(entry, data, hub=hub)
            if where is None:
                missing.append(Missing(dataset=entry.name, why=f"not found; get it: {entry.get}"))
                continue
            dataset = built[1] if built else open_entry(entry, where)
            measured = score(encoder, model, dataset, where, EvaluationTask(task.task, entry.metric, task.shots))
        except EdgeclipError as error:
            missing.append(Missing(dataset=entry.name, why=str(error)))
            say(f"{entry.name}: {error}")
            continue
        scores.append(
            measured.model_copy(
                update={"dataset": entry.name, "remarks": [*remarks(entry, dataset), *measured.remarks]}
            )
        )
        if part:
            Evaluation(model=model, suite=suite.name, scores=scores, missing=[], of=of).save(part)
    if not scores:
        where_to = "; ".join(f"{m.dataset}: {m.why}" for m in missing)
        raise EdgeclipError(f"none of {suite.name}'s sets is at hand (--data FOLDER, --hub): {where_to}")
    return Evaluation(model=model, suite=suite.name, scores=scores, missing=missing, of=of)


def _identity(encoder: Encoder, suite: Suite, data: Path | None, task: EvaluationTask, hub: bool) -> str:
    """A digest of all that the scores depend on but the images."""
    fingerprint = getattr(encoder, "fingerprint", None)
    parts = [fingerprint, suite.model_dump_json(), data and str(data.absolute()), repr(task), hub]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _kept(part: Path | None, of: str) -> dict[str, Score]:
    """The scores of an evaluation of the same that was cut, by data set."""
    if part is None or not part.is_file():
        return {}
    evaluation = read_document(part, Evaluation)
    if evaluation.of != of:
        say(f"{part} is of another evaluation: starting again")
        return {}
    say(f"{len(evaluation.scores)} set(s) are measured already: continuing with the others")
    return {score.dataset: score for score in evaluation.scores}


def locate(entry: Entry, data: Path | None, *, hub: bool = False) -> str | None:
    """Where the set is: a folder of its name (or of its hub repository's) below ``data``, the hub, or nowhere."""
    names = [entry.name, *([entry.hub.rpartition("/")[2]] if entry.hub else [])]
    folder = next((data / name for name in names if (data / name).is_dir()), None) if data else None
    if folder:
        return str(folder)
    return f"{HUB}{entry.hub}" if hub and entry.hub else None


def open_entry(entry: Entry, where: str, split: str = "test") -> Dataset:
    """Open the set at ``where``; if it has more classes than the suite wants, those under the mask.

    Raises:
        EdgeclipError: as for :func:`~edgeclip.images.datasets.open_dataset`, or the mask does not fit.
    """
    dataset = open_dataset(where, split, keep_duplicates=True)  # as the authors count
    if not entry.mask or len(dataset.classnames) == len(entry.mask):
        return dataset
    return only(dataset, entry.mask)


def only(dataset: Dataset, mask: Sequence[int] | Sequence[str]) -> Dataset:
    """The images of some classes, classified among those alone; classes by number or by name.

    Raises:
        EdgeclipError: the data set lacks one of them.
    """
    rows = []
    places = {_plain(name): row for row, name in enumerate(dataset.classnames)}
    for name in mask:
        row = places.get(_plain(name)) if isinstance(name, str) else name
        if row is None or not 0 <= row < len(dataset.classnames):
            raise EdgeclipError(f"{dataset.name}: it has no class {name!r}, which the suite asks for")
        rows.append(row)
    source = Some(dataset.source, {row: new for new, row in enumerate(rows)})
    return Dataset(dataset.name, [dataset.classnames[row] for row in rows], dataset.templates, source)


def remarks(entry: Entry, dataset: Dataset) -> list[str]:
    """In what the set at hand differs from its authors': the figure is then not theirs to compare with."""
    counts = {"classes": len(dataset.classnames), "templates": len(dataset.templates), "images": len(dataset)}
    wanted = {name: getattr(entry, name) for name in counts}
    return [
        f"{counts[n]} {n}, where its authors have {wanted[n]}" for n in counts if wanted[n] and counts[n] != wanted[n]
    ]


def _plain(name: str) -> str:
    """ObjectNet's folders say ``alarm_clock``, its lists ``Alarm clock``."""
    return name.lower().replace("_", " ").strip()


def _folder() -> Path:
    return Path(str(files("edgeclip.evaluation") / "suites"))
