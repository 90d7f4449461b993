"""Which student fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import (
    FORCE,
    JSON,
    NO_BUDGET,
    NO_MEASURE,
    PATH,
    PRECISIONS,
    PROFILE,
    Number,
    budget_options,
    complete_models,
    tell,
)

if TYPE_CHECKING:
    from ..encoder import Encoder
    from ..towers.spec import StudentSpec

TRIAL_EPOCHS = 8


@click.command(name="select")
@PROFILE
@budget_options
@NO_BUDGET
@click.option(
    "--image-size", type=click.IntRange(16, 4096), default=224, show_default=True, help="Maximum input size, px."
)
@PRECISIONS
@click.option("--top", type=click.IntRange(1, 100), default=10, show_default=True, help="Number of students to list.")
@NO_MEASURE
@click.option(
    "--trials",
    type=click.IntRange(2, 100),
    help="Train this many students briefly, and rank them by top-1 instead of score.",
)
@click.option(
    "--teacher",
    metavar="T",
    help="For --trials: ViT-L-14:openai, hf-hub:…, local-dir:…, or demo.",
    shell_complete=complete_models,
)
@click.option("--images", type=PATH, help="For --trials: a folder of images.")
@click.option("--texts", type=PATH, help="For --trials: sentences.")
@click.option("--dataset", type=PATH, help="For --trials: labelled images to validate on.")
@click.option("--work", type=PATH, help="For --trials: a folder for the short runs.")
@click.option("--text-mb", type=Number(0), help="File size for a separate text tower, MB: say which one fits.")
@click.option(
    "--plot",
    type=PATH,
    help="Plot latency against score, with the Pareto front, the budget and the first student (.svg).",
)
@click.option("--out", type=PATH, help="Write the spec of the first student to this file (.json).")
@FORCE
@JSON
def select_command(
    profile_name: str,
    image_size: int,
    precisions: tuple[Any, ...],
    top: int,
    no_measure: bool,
    no_budget: bool,
    trials: int | None,
    text_mb: float | None,
    plot: Path | None,
    out: Path | None,
    force: bool,
    as_json: bool,
    teacher: str | None,
    images: Path | None,
    texts: Path | None,
    dataset: Path | None,
    work: Path | None,
    **budget: float | None,
) -> None:
    """Rank the students within the budget by expected accuracy (score), with their predicted latency.

    Example:  edgeclip select --profile raspberry-pi-5 --latency-ms 20
    """
    from ..base.files import writable_file, write_marked
    from ..chain.steps import graph_writer
    from ..selection import select
    from ..selection.front import front, front_svg
    from ..selection.select import survey
    from ..selection.texttowers import text_advice
    from .inputs import open_profile, refuse_no_budget
    from .tables import show, specs_table

    for file in filter(None, (plot, out)):
        writable_file(file, force=force)
    if trials and not (teacher and images and texts and dataset and work):
        raise click.UsageError("--trials needs --teacher, --images, --texts, --dataset and --work")
    profile = open_profile(profile_name, budget)
    if not no_budget:
        refuse_no_budget(profile)
    limits: dict[str, Any] = {"max_image_size": image_size, "precisions": precisions or None}
    writer, told = graph_writer(profile, wanted=not no_measure)
    every = trials is not None  # whoever may be trained is timed before
    specs = select(profile, profile.budget, **limits, top=trials or top, write_graph=writer, every=every)
    if writer is None:
        tell(told)
    if trials:
        specs = _tried(specs, teacher, images, texts, dataset, work)
    if text_mb is not None:
        tell(text_advice(text_mb))
    show(as_json, [s.as_data() for s in specs], lambda: specs_table(specs, profile))
    if plot:
        offers = survey(profile, **limits, to_measure=writer is not None)
        write_marked(plot, front_svg(front(offers, profile.budget), specs, offers, profile, profile.budget))
        tell(f"wrote {plot}")
    if out:
        specs[0].save(out)
        tell(f"wrote {out}")


def _tried(
    specs: Sequence[StudentSpec], teacher: Any, images: Any, texts: Any, dataset: Any, work: Any
) -> list[StudentSpec]:
    """The specs ranked by short distillations in ``work``, which share the teacher's embeddings."""
    from ..base.errors import require
    from ..selection.trials import rank_by_trials

    require("optuna", "trials")
    require("torch", "distill")
    from ..chain.loading import open_teacher
    from ..distillation import distill
    from ..distillation.config import DistillConfig
    from ..evaluation import evaluate
    from ..images.datasets import open_dataset

    opened, data = open_teacher(teacher), open_dataset(dataset)
    config = DistillConfig(epochs=TRIAL_EPOCHS, warmup_epochs=1, views=2, judge_epochs=1, tracker="none")

    def train(spec: StudentSpec, told: Callable[[float], None]) -> None:
        def judge(encoder: Encoder) -> float:
            top1 = evaluate(encoder, data).top1
            told(top1)
            return top1

        out = work / f"trial-{spec.name}-{spec.precision}"
        settings: dict[str, Any] = {"config": config, "store": work / "store", "dataset": str(dataset)}
        distill(spec, [opened], images, texts, out, judge=judge, **settings)

    return rank_by_trials(specs, train)
