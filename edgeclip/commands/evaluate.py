"""How accurate is it?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..options import JSON, PATH, shipped, tell

DATASET_HELP = "A folder per class, tar shards (folder, URL, hub:USER/REPO), or torchvision:NAME:FOLDER."


@click.command(name="eval")
@click.argument("model")
@click.option("--dataset", metavar="D", help=DATASET_HELP)
@click.option(
    "--suite",
    metavar="S",
    help="elevater, robustness, openmoji, or a TOML file.  [default: openmoji]",
    shell_complete=shipped("edgeclip.evaluate", "suites"),
)
@click.option("--data", type=PATH, help="Where a suite's data sets lie, a folder each.")
@click.option("--hub", is_flag=True, help="Fetch what is not there from the hub that the suite names.")
@click.option(
    "--task",
    type=click.Choice(["zero-shot", "linear-probe", "few-shot", "retrieval"]),
    default="zero-shot",
    show_default=True,
)
@click.option(
    "--metric",
    type=click.Choice(["accuracy", "mean-per-class", "roc-auc", "map-11"]),
    default="accuracy",
    show_default=True,
    help="Of --dataset; a suite has its own.",
)
@click.option("--train", metavar="D", help="Where a probe's training split lies.  [default: the data set's own]")
@click.option("--shots", type=click.IntRange(1), default=5, show_default=True, help="Examples a class, few-shot.")
@click.option("--out", type=PATH, help="Write the figures, class by class, here (.json).")
@JSON
def evaluate(
    model: str,
    dataset: str | None,
    suite: str | None,
    data: Path | None,
    hub: bool,
    task: Any,
    metric: str,
    train: str | None,
    shots: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Accuracy of anything that encodes (a teacher, a run, a bundle) on a data set, or on all of a suite.

    Example:  edgeclip eval runs/pi --dataset testset/
    """
    from ..evaluate.results import Evaluation
    from ..files import writable_file
    from ..steps.evaluate import DEFAULT_SUITE, Asked, evaluate_dataset, evaluate_suite
    from ..tables import show
    from ..tables_eval import scores_table

    if dataset and suite:
        raise click.UsageError("give either --dataset or --suite")
    if out:
        writable_file(out)
    asked = Asked(task, metric, shots, train)
    if dataset:
        score = evaluate_dataset(model, dataset, asked)
        found = Evaluation(model=model, suite="", scores=[score], missing=[])
    else:
        found = evaluate_suite(model, suite or DEFAULT_SUITE, data, asked, hub=hub)
    if out:
        found.save(out)
        tell(f"wrote {out}")
    told = found.scores[0].model_dump(exclude_none=True) if dataset else {**found.as_data(), "mean": found.mean}
    show(as_json, told, lambda: scores_table(found))


@click.command()
@click.argument("models", nargs=-1, required=True)
@click.option("--dataset", metavar="D", required=True, help=DATASET_HELP)
@click.option("--out", type=PATH, help="Folder for retention.json and a confusion plot of each model (.svg).")
@JSON
def retention(models: tuple[str, ...], dataset: str, out: Path | None, as_json: bool) -> None:
    """What distillation or quantisation kept, and what it broke: the reference first, then what was made of it.

    Example:  edgeclip retention ViT-B-16:openai runs/pi bundles/pi --dataset testset/ --out kept/
    """
    from ..evaluate.retention import confusion_svg
    from ..files import writable, write_text
    from ..steps.evaluate import compare as hold_together
    from ..tables import show
    from ..tables_eval import retention_table

    if out:
        writable(out / "retention.json")
    found = hold_together(models, dataset)
    if out:
        found.save(out / "retention.json")
        for number, row in enumerate(found.rows[1:], 1):
            write_text(out / f"broken-{number}.svg", confusion_svg(row, found.rows[0].model))
        tell(f"wrote {out}/retention.json and {len(found.rows) - 1} plot(s)")
    show(as_json, found.as_data(), lambda: retention_table(found))
