"""Tables of accuracy for people. Nothing is computed here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from .tables import table_of

if TYPE_CHECKING:
    from ..comparison.retention import Retention
    from ..evaluation.results import Evaluation, Score


def scores_table(evaluation: Evaluation) -> RenderableType:
    """One row a data set, the mean, and what is missing."""
    facts = ("data set", "task", "images", "classes", "chance", "metric", "value", "95 % interval")
    table = table_of(
        *facts,
        "top-1",
        "top-5",
        "mean per class",
        "calibration error",
        title=Text(f"{evaluation.model}{': ' + evaluation.suite if evaluation.suite else ''}"),
    )
    for score in evaluation.scores:
        table.add_row(
            Text(score.dataset),
            score.task,
            str(score.images),
            str(score.classes),
            _percent(score.chance),
            score.metric,
            f"{score.value:.2%}",
            _interval(score),
            _percent(score.top1),
            _percent(score.top5),
            _percent(score.mean_per_class),
            _percent(score.calibration_error),
        )
    notes = [f"{s.dataset}: {remark}" for s in evaluation.scores for remark in s.remarks]
    notes += [f"{m.dataset}: not measured: {m.why}" for m in evaluation.missing]
    if evaluation.suite and evaluation.mean is not None:
        of_all = len(evaluation.scores) + len(evaluation.missing)
        notes.append(f"mean of {len(evaluation.scores)} of {of_all} sets: {evaluation.mean:.2%}")
    return Group(table, *map(Text, notes))


def retention_table(retention: Retention) -> RenderableType:
    """The reference and what was made of it; then the classes that lost most."""
    title = Text(
        f"{retention.dataset}: {retention.images} images, {retention.classes} classes, chance {retention.chance:.2%}"
    )
    table = table_of(
        "model",
        "top-1",
        "95 % interval",
        "kept of what is above chance",
        "same answer",
        "lost",
        "gained",
        "change",
        "p",
        title=title,
    )
    for row in retention.rows:
        change = f"{row.change_low:+.2%} … {row.change_high:+.2%}" if row.change_low is not None else "-"
        table.add_row(
            Text(row.model),
            f"{row.top1:.2%}",
            f"{row.low:.2%} … {row.high:.2%}",
            _percent(row.retention),
            _percent(row.agreement),
            str(row.lost),
            str(row.gained),
            change,
            "-" if row.p_value is None else f"{row.p_value:.2g}",
        )
    changes = [
        Text(f"{row.model} {how} most in {class_change.told}")
        for row in retention.rows
        for how, classes in (("lost", row.losers), ("won", row.winners))
        for class_change in classes[:3]
    ]
    doubts = [Text(f"{row.model}: {remark}", style="red") for row in retention.rows for remark in row.remarks]
    if retention.rows[1].retention is None:
        doubts.append(
            Text(f"{retention.rows[0].model} knows no more than chance: nothing can be kept of it", style="red")
        )
    return Group(table, *doubts, *changes)


def _interval(score: Score) -> str:
    if score.low is None or score.high is None:
        return f"sd {score.more['sd']:.2%}" if "sd" in score.more else "-"
    return f"{score.low:.2%} … {score.high:.2%}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"
