"""The recommended variant's answers, class by class: a table, and what was taken for what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..base.visible import escape
from ..measurement.schema import Row
from .confusion import LARGEST_PLOT, matrix_svg
from .schema import Report

LISTED = 1000  # classes: a longer table is nothing that anybody looks at
ORDERS = {
    "worst first": lambda one: (one.share, one.name),
    "most images first": lambda one: (-one.images, one.name),
    "by name": lambda one: one.name,
}


@dataclass(frozen=True)
class OneClass:
    """A class: its images, those that were right, and what the others were mostly taken for."""

    name: str
    images: int
    right: int
    taken_for: str
    answers: int  # how often it was given, rightly or not

    @property
    def share(self) -> float:
        """Of its images that are right, 0..1."""
        return self.right / self.images


def answered(report: Report, row: Row) -> list[tuple[int, int]]:
    """(class, answer) of each image, by number; none where they are not known, or an image may be of several."""
    if report.dataset is None:
        return []
    labels, names = report.dataset.labels, report.dataset.names
    known = len(labels) == len(row.answers) and max([*labels, *row.answers], default=0) < len(names)
    return list(zip(labels, row.answers, strict=True)) if known else []


def by_class(report: Report, row: Row) -> list[OneClass]:
    """Every class that the images show."""
    pairs, names = answered(report, row), report.dataset.names if report.dataset else []
    images, given = Counter(label for label, _ in pairs), Counter(answer for _, answer in pairs)
    wrong: dict[int, Counter[int]] = {label: Counter() for label in images}
    for label, answer in pairs:
        if label != answer:
            wrong[label][answer] += 1
    classes = []
    for label, count in images.items():
        others = wrong[label].most_common(2)
        answers_text = ", ".join(f"{names[answer]} ({n})" for answer, n in others)
        right = count - wrong[label].total()
        classes.append(OneClass(str(names[label]), count, right, answers_text, given[label]))
    return classes


def class_table(report: Report) -> str:
    """A table of all classes in three orders; which one shows is chosen by a radio button, without any script."""
    chosen = next(row for row in report.rows if row.recommended)
    classes = by_class(report, chosen)
    if not classes:
        return '<p class="soft">Which class each image is of was not recorded.</p>'
    buttons, tables = [], []
    for number, (order, key) in enumerate(ORDERS.items()):
        mark = " checked" if number == 0 else ""
        buttons.append(f'<input type="radio" name="order" id="order-{number}"{mark}>')
        buttons.append(f'<label for="order-{number}">{order}</label>')
        tables.append(f'<div class="order order-{number}">{_table(sorted(classes, key=key))}</div>')
    more = f'<p class="soft">{len(classes) - LISTED} more are in report.json.</p>' if len(classes) > LISTED else ""
    return f"{''.join(buttons)}{''.join(tables)}{more}"


def _table(classes: Sequence[OneClass]) -> str:
    head = "".join(f"<th>{name}</th>" for name in ("class", "images", "right", "", "given as answer", "taken for"))
    body = "".join(
        f"<tr><td>{escape(row.name)}</td><td>{row.images}</td><td>{row.right}</td><td>{row.share:.0%}</td>"
        f"<td>{row.answers}</td><td>{escape(row.taken_for)}</td></tr>"
        for row in classes[:LISTED]
    )
    return f'<div class="wide tall"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def truth_plot(report: Report) -> str:
    """What images show against what they were taken for; nothing where classes have one image each.

    Where there are more classes than a plot has room for, those with most errors stand for themselves and the rest
    together.
    """
    chosen = next(row for row in report.rows if row.recommended)
    classes = by_class(report, chosen)
    if report.dataset is None or max((entry.images for entry in classes), default=0) < 2:
        return ""
    names = report.dataset.names
    pairs: Counter[tuple[Any, Any]] = Counter(answered(report, chosen))
    errors: Counter[int] = Counter()
    for (label, answer), n in pairs.items():
        if label != answer:
            errors[label] += n
            errors[answer] += n
    shown = sorted({*(label for label, _ in pairs), *(answer for _, answer in pairs)})
    if len(shown) > LARGEST_PLOT:
        shown = [label for label, _ in errors.most_common(LARGEST_PLOT - 1)]
        pairs = _grouped(pairs, set(shown))
    labels = [names[label] for label in shown]
    cells = {(_place(shown, label), _place(shown, answer)): n for (label, answer), n in pairs.items()}
    if any(max(place) == len(shown) for place in cells):
        labels.append("all others")
    right = sum(entry.right for entry in classes)
    caption = f"{right} of {sum(entry.images for entry in classes)} images are right; rows: what they show"
    return matrix_svg(labels, labels, cells, caption, right_on_diagonal=True)


def _grouped(pairs: Counter[tuple[Any, Any]], kept: set[int]) -> Counter[tuple[Any, Any]]:
    counts: Counter[tuple[Any, Any]] = Counter()
    for (label, answer), n in pairs.items():
        if label not in kept and answer not in kept and label != answer:
            continue  # an error among the others has no place of its own
        counts[label if label in kept else None, answer if answer in kept else None] += n
    return counts


def _place(shown: Sequence[int], label: int | None) -> int:
    return len(shown) if label is None else shown.index(label)
