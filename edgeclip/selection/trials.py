"""Rank finalists by what training says: short distillations, the hopeless ones ended early (successive halving)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..base.console import say
from ..base.errors import require
from ..towers.spec import StudentSpec

KEEP_ONE_IN = 2  # of the students that got as far
Train = Callable[[StudentSpec, Callable[[float], None]], None]  # trains a spec, and tells each top-1 on the way


def rank_by_trials(specs: Sequence[StudentSpec], train: Train) -> list[StudentSpec]:
    """Train each spec for a little while and return all, the best first, with ``trial_top1``.

    Args:
        specs: the finalists, as :func:`~edgeclip.selection.select.select` ranked them.
        train: must let what it is handed end it: a trial without hope is ended by an exception.

    Raises:
        MissingExtra: Optuna is not installed.
        EdgeclipError: an input is missing or unfit.
    """
    optuna = require("optuna", "trials")
    best: dict[int, float] = {}

    def objective(trial: Any) -> float:
        place, judged = trial.suggest_int("student", 0, len(specs) - 1), 0

        def tell(top1: float) -> None:
            nonlocal judged
            judged += 1
            best[place] = max(best.get(place, 0.0), top1)
            trial.report(best[place], judged)
            if trial.should_prune():
                raise optuna.TrialPruned

        train(specs[place], tell)
        return best[place]

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.GridSampler({"student": list(range(len(specs)))}),
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=KEEP_ONE_IN),
    )
    study.optimize(objective, n_trials=len(specs))
    for place, spec in enumerate(specs):
        say(f"trial: {spec.name}, {spec.precision}: top-1 {best.get(place, 0.0):.1%}")
    tried = [spec.model_copy(update={"trial_top1": best.get(place)}) for place, spec in enumerate(specs)]
    return sorted(tried, key=lambda spec: -(spec.trial_top1 or 0.0))
