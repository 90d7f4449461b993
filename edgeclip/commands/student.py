"""Which student fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..options import JSON, PATH, PROFILE, budget_options, tell


@click.command()
@PROFILE
@budget_options
@click.option("--image-size", type=click.IntRange(16), default=224, show_default=True, help="Largest input side, px.")
@click.option(
    "--precision", "precisions", multiple=True, type=click.Choice(["fp32", "fp16", "int8"]), help="Only these."
)
@click.option("--top", type=click.IntRange(1, 100), default=10, show_default=True, help="How many to list.")
@click.option("--measure", is_flag=True, help="Time them here, best first, until one fits: that one alone is listed.")
@click.option("--trials", type=click.IntRange(2, 100), help="Rank this many by short distillations, not by score.")
@click.option("--teacher", metavar="T", help="For --trials: ViT-L-14:openai, hf-hub:…, local-dir:…, or demo.")
@click.option("--images", type=PATH, help="For --trials: a folder of images.")
@click.option("--texts", type=PATH, help="For --trials: sentences.")
@click.option("--dataset", type=PATH, help="For --trials: labelled images to judge on.")
@click.option("--work", type=PATH, help="For --trials: a folder for the short runs.")
@click.option("--text-mb", type=click.FloatRange(min=0), help="Room for a text tower of its own: say which fits.")
@click.option("--plot", type=PATH, help="Draw latency against score: the front, the budget, the chosen one (.svg).")
@click.option("--out", type=PATH, help="Write the first one's spec here (.json).")
@JSON
def select(
    profile_name: str,
    image_size: int,
    precisions: tuple[Any, ...],
    top: int,
    measure: bool,
    trials: int | None,
    text_mb: float | None,
    plot: Path | None,
    out: Path | None,
    as_json: bool,
    teacher: str | None,
    images: Path | None,
    texts: Path | None,
    dataset: Path | None,
    work: Path | None,
    **budget: float | None,
) -> None:
    """Rank the students that fit the budget, with their predicted latency.

    Example:  edgeclip select --profile raspberry-pi-5 --latency-ms 20
    """
    from ..files import writable_file, write_text
    from ..steps.choose import choose, confirm, find_profile, here, text_advice, warn
    from ..student.front import front, front_svg
    from ..student.select import best, survey
    from ..tables import show, specs_table

    for file in filter(None, (plot, out)):
        writable_file(file)
    device = find_profile(profile_name, budget)
    limits: dict[str, Any] = {"max_image_size": image_size, "precisions": precisions or None}
    if measure:
        here(device)
    offers = survey(device, **limits, to_measure=measure)
    specs = best(device, offers, device.budget, trials or top)
    warn(device)
    if trials:
        from ..steps.trials import try_out

        if not (teacher and images and texts and dataset and work):
            raise click.UsageError("--trials needs --teacher, --images, --texts, --dataset and --work")
        specs = try_out(specs, teacher, images, texts, dataset, work)
    if measure:
        specs = [confirm(specs, device) if trials else choose(device, **limits, top=top)]
    if text_mb is not None:
        tell(text_advice(text_mb))
    if plot:
        write_text(plot, front_svg(front(offers, device.budget), specs, offers, device, device.budget))
        tell(f"wrote {plot}")
    if out:
        specs[0].save(out)
        tell(f"wrote {out}")
    show(as_json, [s.as_data() for s in specs], lambda: specs_table(specs, device))
