"""Students that are trained for a little while, and ranked by what they have learnt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..base.errors import require
from ..data.training import TrainingData

if TYPE_CHECKING:
    from ..encoder import Encoder
    from ..towers.spec import StudentSpec

EPOCHS = 8


@dataclass(frozen=True)
class Trials:
    """Short distillations of the best candidates.

    Args:
        count: how many students are trained.
        teacher: by name.
        data: what they learn from.
        dataset: labelled images that rank them.
        work: a folder for the short runs, which share the teacher's embeddings.
    """

    count: int
    teacher: str
    data: TrainingData
    dataset: str | Path
    work: Path


def rank(specs: Sequence[StudentSpec], trials: Trials) -> list[StudentSpec]:
    """The specs ranked by short distillations, the best first, with ``trial_top1``.

    Raises:
        MissingExtra: torch or Optuna is not installed.
        EdgeclipError: an input is missing or unfit.
    """
    from ..selection.trials import rank_by_trials

    require("optuna", "trials")
    require("torch", "distill")
    from ..distillation.config import DistillConfig
    from ..distillation.pipeline import Validation, distill
    from ..evaluation import evaluate
    from ..images.datasets import open_dataset
    from .loading import open_teacher

    teacher, labelled = open_teacher(trials.teacher), open_dataset(trials.dataset)
    config = DistillConfig(epochs=EPOCHS, warmup_epochs=1, views=2, judge_epochs=1, tracker="none")
    data = replace(trials.data, store=trials.work / "store")

    def train(spec: StudentSpec, tell: Callable[[float], None]) -> None:
        def top1_of(encoder: Encoder) -> float:
            top1 = evaluate(encoder, labelled).top1
            tell(top1)
            return top1

        out = trials.work / f"trial-{spec.name}-{spec.precision}"
        distill(spec, [teacher], data, out, config=config, validation=Validation(str(trials.dataset), top1_of))

    return rank_by_trials(specs, train)
