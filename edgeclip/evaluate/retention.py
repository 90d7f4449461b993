"""What distillation or quantisation kept: a reference against what was made of it, image by image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from ..documents import Count, Document, Fraction, NonNegative, Part
from ..errors import EdgeclipError
from .metrics import interval, mcnemar
from .zeroshot import ZeroShot

Change = Annotated[float, Field(ge=-1, le=1)]
MOST, EXAMPLES = 10, 3  # classes that are named, and images of each
LARGEST_PLOT = 14  # classes a side
CELL, MARGIN, HEAD = 34, 190, 150  # px


class ClassChange(Part):
    """A class of which the model gets fewer images right than the reference, or more."""

    name: str
    images: Count
    before: Fraction
    after: Fraction
    examples: list[str] = []  # some of the images that changed


class Kept(Part):
    """One model beside the reference. Fractions of the images, 0..1, and counts of images."""

    model: str
    top1: Fraction
    low: Fraction  # 95 % bootstrap interval of top1
    high: Fraction
    mean_per_class: Fraction
    retention: NonNegative | None = None  # top1 over the reference's
    agreement: Fraction | None = None  # the same answer as the reference's, right or wrong
    lost: Count = 0  # right in the reference, wrong here
    gained: Count = 0  # wrong in the reference, right here
    change_low: Change | None = None  # 95 % bootstrap interval of the change of top1, image by image
    change_high: Change | None = None
    p_value: Fraction | None = None  # of McNemar's test: how likely a change as large is where nothing changed
    losers: list[ClassChange] = []  # most images first
    winners: list[ClassChange] = []
    broken: list[tuple[str, str, Count]] = []  # (what it shows, what it is now taken for, images), most first


class Retention(Document):
    """``retention.json``."""

    FORMAT: ClassVar[str] = "edgeclip-retention"

    dataset: str
    images: Count
    rows: Annotated[list[Kept], Field(min_length=2)]  # the reference first


def retention(results: Mapping[str, ZeroShot], classnames: Sequence[str], *, dataset: str) -> Retention:
    """Compare models' answers on the same images; the first is the reference.

    Raises:
        EdgeclipError: an image may be of several classes.
    """
    (first, reference), *others = results.items()
    if reference.labels.ndim != 1:
        raise EdgeclipError(f"{dataset}: images of several classes cannot be compared by their one best answer")
    rows = [_row(first, reference), *(_compared(name, result, reference, classnames) for name, result in others)]
    return Retention(dataset=dataset, images=len(reference.labels), rows=rows)


def _row(name: str, result: ZeroShot) -> Kept:
    low, high = interval(lambda right: float(right.mean()), result.right)
    return Kept(model=name, top1=result.top1, low=low, high=high, mean_per_class=result.mean_per_class)


def _compared(name: str, result: ZeroShot, reference: ZeroShot, classnames: Sequence[str]) -> Kept:
    lost, gained = reference.right & ~result.right, result.right & ~reference.right
    low, high = interval(lambda gain, loss: float(gain.mean() - loss.mean()), gained, lost)
    pairs = Counter(zip(reference.labels[lost].tolist(), result.predictions[lost].tolist(), strict=True))
    return _row(name, result).model_copy(
        update={
            "retention": result.top1 / reference.top1 if reference.top1 else None,
            "agreement": float((result.predictions == reference.predictions).mean()),
            "lost": int(lost.sum()),
            "gained": int(gained.sum()),
            "change_low": low,
            "change_high": high,
            "p_value": mcnemar(int(lost.sum()), int(gained.sum())),
            "losers": _changed(result, reference, classnames, -1),
            "winners": _changed(result, reference, classnames, 1),
            "broken": [(classnames[true], classnames[taken], n) for (true, taken), n in pairs.most_common()],
        }
    )


def _changed(result: ZeroShot, reference: ZeroShot, classnames: Sequence[str], sign: int) -> list[ClassChange]:
    """The classes that won (1) or lost (-1) most images, with some of these."""
    before, after = reference.recall_per_class, result.recall_per_class
    count = np.bincount(reference.labels, minlength=len(classnames))
    change = np.nan_to_num((after - before) * count) * sign
    moved = result.right & ~reference.right if sign > 0 else reference.right & ~result.right
    found = []
    for row in np.argsort(-change, kind="stable")[:MOST].tolist():
        if change[row] <= 0:
            break
        own = np.flatnonzero(moved & (reference.labels == row))[:EXAMPLES]
        some = [reference.keys[image] for image in own] if len(reference.keys) else []
        facts = {"images": int(count[row]), "before": before[row], "after": after[row]}
        found.append(ClassChange(name=classnames[row], examples=some, **facts))
    return found


def confusion_svg(kept: Kept, reference: str) -> str:
    """What ``kept`` broke: images right in the reference, by what they show (rows) and are now taken for (columns).

    The classes that lost most are drawn; what is left out is counted below. Names are escaped.
    """
    rows = [name for name, _ in _weights(kept.broken, 0).most_common(LARGEST_PLOT)]
    shown = [pair for pair in kept.broken if pair[0] in rows]
    columns = [name for name, _ in _weights(shown, 1).most_common(LARGEST_PLOT)]
    cells = {(true, taken): n for true, taken, n in kept.broken if true in rows and taken in columns}
    most, total = max(cells.values(), default=1), sum(n for *_, n in kept.broken)
    parts = []
    for y, true in enumerate(rows):
        parts.append(_label(MARGIN - 8, HEAD + CELL * (y + 0.6), true, "end"))
        for x, taken in enumerate(columns):
            n = cells.get((true, taken), 0)
            left, top = MARGIN + CELL * x, HEAD + CELL * y
            shade = f"fill:#b3261e;fill-opacity:{n / most:.2f}" if n else "fill:#f2f2f2"
            parts.append(f'<rect x="{left}" y="{top}" width="{CELL - 2}" height="{CELL - 2}" style="{shade}"/>')
            if n:
                parts.append(_label(left + CELL / 2 - 1, top + CELL * 0.6, str(n), "middle"))
    for x, taken in enumerate(columns):
        place = f"translate({MARGIN + CELL * (x + 0.6):.0f} {HEAD - 8}) rotate(-45)"
        parts.append(f'<g transform="{place}">{_label(0, 0, taken, "start")}</g>')
    width, height = MARGIN + CELL * max(4, len(columns)) + HEAD, HEAD + CELL * len(rows) + 40
    told = f"{sum(cells.values())} of {total} images that {reference} got right and {kept.model} does not"
    parts.append(_label(12, height - 12, told, "start"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(told)}" font-family="sans-serif" font-size="12">'
        f'<rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n'
    )


def _weights(broken: Sequence[tuple[str, str, int]], side: int) -> Counter[str]:
    found: Counter[str] = Counter()
    for pair in broken:
        found[str(pair[side])] += pair[2]
    return found


def _label(x: float, y: float, text: str, anchor: str) -> str:
    short = text if len(text) <= 26 else text[:25] + "…"
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(short)}</text>'
