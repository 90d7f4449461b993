"""How accurate is it?"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .keeping import keep
from .options import ENGINE, FORCE, JSON, PATH, PROVIDER, Colour, complete_models, shipped, tell

if TYPE_CHECKING:
    from ..encoder import Encoder

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
    "--ground", type=Colour(), help="What transparent pixels lie on: ffffff is white.  [default: as the model does]"
)
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
    metric: Any,
    train: str | None,
    shots: int,
    keep_duplicates: bool,
    ground: str | None,
    out: Path | None,
    engine: str | None,
    provider: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Measure the accuracy of a teacher, a run or a bundle on a data set, or on a suite of data sets.

    Example:  edgeclip eval runs/pi --dataset testset/
    """
    from ..api.proof import EvaluationTask, evaluate
    from ..base.files import writable_file
    from .evaluation_tables import scores_table
    from .tables import show

    if dataset and suite:
        raise click.UsageError("give either --dataset or --suite")
    if out:
        writable_file(out, force=force)
    task_of = EvaluationTask(task, metric, shots, train, keep_duplicates, ground)
    part = out.with_name(f"{out.name}.part") if out and not dataset else None
    where: dict[str, Any] = {"dataset": dataset, "suite": suite, "data": data, "hub": hub, "part": part}
    try:
        evaluation = evaluate(_opened(model, engine, provider), task=task_of, name=model, **where)
    except KeyboardInterrupt:
        if part and part.is_file():
            tell("run the same command again to resume after the data sets that are done")
        raise
    data_of = (
        evaluation.scores[0].model_dump(exclude_none=True)
        if dataset
        else {**evaluation.as_data(), "mean": evaluation.mean}
    )
    if out:
        keep(out, evaluation.save, partial(writable_file, force=force))
        if part:
            part.unlink(missing_ok=True)
    show(as_json, data_of, lambda: scores_table(evaluation))


def _opened(model: str, engine: str | None, provider: str | None) -> str | Encoder:
    """A name as it is, which is opened when the data set is there; a bundle in the engine that is asked for."""
    from ..api.bundle import load

    return load(model, engine=engine, provider=provider) if engine or provider else model


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
    from ..api.proof import retention
    from ..base.files import writable, write_text
    from ..base.folders import new_folder, refuse_foreign
    from ..reporting.confusion import confusion_svg
    from .evaluation_tables import retention_table
    from .tables import show

    if out:
        writable(out)
        refuse_foreign(out, "retention", force=force)
    opened = [_opened(name, engine, provider) for name in models]
    kept = retention(*opened, dataset=dataset, names=models)

    def write(place: Path) -> None:
        with new_folder(place, "retention", "retention.json", force=force) as folder:
            kept.save(folder / "retention.json")
            for number, row in enumerate(kept.rows[1:], 1):
                write_text(folder / f"broken-{number}.svg", confusion_svg(row.broken, row.model, kept.rows[0].model))

    if out:
        what = f"{out}/retention.json and {len(kept.rows) - 1} plot(s)"
        keep(out, write, partial(refuse_foreign, kind="retention", force=force), what=what)
    show(as_json, kept.as_data(), lambda: retention_table(kept))
