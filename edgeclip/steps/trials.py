"""Rank finalists by what training says: short distillations, the hopeless ones ended early (successive halving)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..console import say
from ..errors import require

if TYPE_CHECKING:
    from ..student.openclip import OpenClipEncoder
    from ..student.spec import StudentSpec

EPOCHS = 8
JUDGED_EVERY = 1  # epochs
KEEP_ONE_IN = 2  # of the students that got as far


def try_out(
    specs: Sequence[StudentSpec], teacher: str, images: Path, texts: Path, dataset: Path, work: Path
) -> list[StudentSpec]:
    """Distil each spec for a few epochs, judge it on ``dataset`` while it learns, and return all, the best first.

    Args:
        specs: the finalists, as :func:`~edgeclip.student.select.select` ranked them.
        teacher: as ``edgeclip distill`` takes it.
        images: a folder of images.
        texts: a file of sentences.
        dataset: labelled images to judge on.
        work: a folder for the short runs and the teacher's embeddings, which they share.

    Raises:
        MissingExtra: Optuna is not installed.
        EdgeclipError: an input is missing or unfit.
    """
    optuna = require("optuna", "trials")
    require("torch", "distill")
    from ..distill.config import DistillConfig
    from ..distill.pipeline import distill
    from ..evaluate import evaluate
    from ..evaluate.datasets import open_dataset
    from .distill import open_teacher

    master, data = open_teacher(teacher), open_dataset(dataset)
    config = DistillConfig(epochs=EPOCHS, warmup_epochs=1, views=2, judge_epochs=JUDGED_EVERY, tracker="none")
    found: dict[int, float] = {}

    def objective(trial: Any) -> float:
        place = trial.suggest_int("student", 0, len(specs) - 1)
        judged = 0

        def judge(encoder: OpenClipEncoder) -> float:
            nonlocal judged
            judged += 1
            found[place] = max(found.get(place, 0.0), evaluate(encoder, data).top1)
            trial.report(found[place], judged)
            if trial.should_prune():
                raise optuna.TrialPruned
            return found[place]

        out = work / f"trial-{place}-{specs[place].name}"
        inputs = (specs[place], [master], images, texts, out)
        distill(*inputs, config=config, store=work / "store", dataset=str(dataset), judge=judge)
        return found[place]

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.GridSampler({"student": list(range(len(specs)))}),
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=KEEP_ONE_IN),
    )
    study.optimize(objective, n_trials=len(specs))
    for place, spec in enumerate(specs):
        say(f"trial: {spec.name}, {spec.precision}: top-1 {found.get(place, 0.0):.1%}")
    tried = [spec.model_copy(update={"trial_top1": found.get(place)}) for place, spec in enumerate(specs)]
    return sorted(tried, key=lambda spec: -(spec.trial_top1 or 0.0))
