"""How accurate is it?"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from .options import ENGINE, FORCE, JSON, PATH, PROVIDER, complete_models, if_interrupted, shipped, tell

DATASET_HELP = "A folder per class, tar shards (folder, URL, hub:USER/REPO), or torchvision:NAME:FOLDER."


@click.command(name="eval")
@click.argument("model", shell_complete=complete_models)
@click.option("--dataset", metavar="D", help=DATASET_HELP)
@click.option(
    "--suite",
    metavar="S",
    help="elevater, imagenet, robustness, vtab, openmoji, or a TOML file.  [default: openmoji]",
    shell_complete=shipped("edgeclip.evaluation", "suites"),
)
@click.option("--data", type=PATH, help="Folder with the suite's data sets, one folder each.")
@click.option("--hub", is_flag=True, help="Download missing data sets from the hub that the suite names.")
@click.option(
    "--task",
    type=click.Choice(["zero-shot", "linear-probe", "few-shot", "retrieval"]),
    default="zero-shot",
    show_default=True,
)
@click.option(
    "--metric",
    type=click.Choice(["accuracy", "mean-per-class", "roc-auc", "map", "map-11"]),
    default="accuracy",
    show_default=True,
    help="Metric for --dataset; a suite names its own.",
)
@click.option("--train", metavar="D", help="Training images of a probe.  [default: the data set's training split]")
@click.option(
    "--shots",
    type=click.IntRange(1, 10_000),
    default=5,
    show_default=True,
    help="Training images per class of a few-shot probe.",
)
@click.option("--keep-duplicates", is_flag=True, help="Keep classes of one name apart, as open_clip does.")
@click.option(
    "--out", type=PATH, help="Write the results, class by class, to this file (.json); an interrupted suite resumes."
)
@ENGINE
@PROVIDER
@FORCE
@JSON
def eval_command(
    model: str,
    dataset: str | None,
    suite: str | None,
    data: Path | None,
    hub: bool,
    task: Any,
    metric: str,
    train: str | None,
    shots: int,
    keep_duplicates: bool,
    out: Path | None,
    engine: str | None,
    provider: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Measure the accuracy of a teacher, a run or a bundle on a data set, or on a suite of data sets.

    Example:  edgeclip eval runs/pi --dataset testset/
    """
    from .. import load
    from ..base.files import writable_file
    from ..demo.sets import DEFAULT_SUITE, built_in
    from ..evaluation.results import Evaluation
    from ..evaluation.suite import evaluate_suite, load_suite
    from ..evaluation.tasks import Asked, score
    from ..images.datasets import open_dataset
    from .evaluation_tables import scores_table
    from .tables import show

    if dataset and suite:
        raise click.UsageError("give either --dataset or --suite")
    if out:
        writable_file(out, force=force)
    asked = Asked(task, metric, shots, train, keep_duplicates or suite is not None)
    part: Path | None = None
    if dataset:
        encoder = load(model, engine=engine, provider=provider)
        one = score(encoder, model, open_dataset(dataset, keep_duplicates=keep_duplicates), dataset, asked)
        found = Evaluation(model=model, suite="", scores=[one], missing=[])
    else:
        wanted, encoder = load_suite(suite or DEFAULT_SUITE), load(model, engine=engine, provider=provider)
        if out and getattr(encoder, "fingerprint", None):  # else nobody could tell whether it is the same later
            part = out.with_name(f"{out.name}.part")
        with (
            if_interrupted("run the same command again to resume after the data sets that are done")
            if part
            else nullcontext()
        ):
            found = evaluate_suite(encoder, model, wanted, data, asked, hub=hub, built_in=built_in, part=part)
    told = found.scores[0].model_dump(exclude_none=True) if dataset else {**found.as_data(), "mean": found.mean}
    show(as_json, told, lambda: scores_table(found))
    if out:
        found.save(out)
        if part:
            part.unlink(missing_ok=True)
        tell(f"wrote {out}")


@click.command(name="retention")
@click.argument("models", nargs=-1, required=True, shell_complete=complete_models)
@click.option("--dataset", metavar="D", required=True, help=DATASET_HELP)
@click.option("--out", type=PATH, help="Folder for retention.json and one confusion plot per model (.svg).")
@ENGINE
@PROVIDER
@FORCE
@JSON
def retention_command(
    models: tuple[str, ...],
    dataset: str,
    out: Path | None,
    engine: str | None,
    provider: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Compare models with a reference, named first: accuracy that is retained, images lost and gained, classes changed.

    Example:  edgeclip retention ViT-B-16:openai runs/pi bundles/pi --dataset testset/ --out kept/
    """
    from .. import load
    from ..base.errors import EdgeclipError
    from ..base.files import writable, write_text
    from ..base.folders import new_folder, refuse_foreign
    from ..comparison.retention import retention
    from ..evaluation import evaluate
    from ..images.datasets import open_dataset
    from ..reporting.confusion import confusion_svg
    from .evaluation_tables import retention_table
    from .tables import show

    if out:
        writable(out)
        refuse_foreign(out, "retention", force=force)
    if len(set(models)) < 2:
        raise EdgeclipError("retention needs two models: the reference first, then what was made of it")
    data = open_dataset(dataset)
    opened = {name: load(name, engine=engine, provider=provider) for name in models}
    results = {name: evaluate(one, data, title=f"zero-shot, {name}") for name, one in opened.items()}
    found = retention(results, data.classnames, dataset=data.name)
    show(as_json, found.as_data(), lambda: retention_table(found))
    if out:
        with new_folder(out, "retention", "retention.json", force=force) as folder:
            found.save(folder / "retention.json")
            for number, row in enumerate(found.rows[1:], 1):
                write_text(folder / f"broken-{number}.svg", confusion_svg(row.broken, row.model, found.rows[0].model))
        tell(f"wrote {out}/retention.json and {len(found.rows) - 1} plot(s)")
