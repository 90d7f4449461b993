"""Which student fits."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from .keeping import keep, refuse_same
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
    from ..api.device import load_profile
    from ..api.student import TrainingData, Trials, front_svg, select, text_advice
    from ..base.files import writable_file, write_marked
    from .inputs import budget_over
    from .tables import show, specs_table

    refuse_same(out=out, plot=plot)
    for file in filter(None, (plot, out)):
        writable_file(file, force=force)
    if trials and not (teacher and images and texts and dataset and work):
        raise click.UsageError("--trials needs --teacher, --images, --texts, --dataset and --work")
    profile = load_profile(profile_name)
    limits = budget_over(profile, budget, no_budget=no_budget)
    settings: dict[str, Any] = {"max_image_size": image_size, "precisions": precisions, "measure": not no_measure}
    if trials:
        assert teacher and images and texts and dataset and work  # see above
        settings["trials"] = Trials(trials, teacher, TrainingData(images, texts), dataset, work)
    specs = select(profile, limits, **settings, top=top)
    if text_mb is not None:
        tell(text_advice(text_mb))
    refuse = partial(writable_file, force=force)
    if out:
        keep(out, specs[0].save, refuse)
    if plot:
        settings.pop("trials", None)
        front = front_svg(specs, profile, limits, **settings)
        keep(plot, lambda file: write_marked(file, front), refuse)
    show(as_json, [s.as_data() for s in specs], lambda: specs_table(specs, profile))
