"""What distillation or quantisation broke, as a plot that stands by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ..base.visible import escape
from ..measurement.schema import Row

LARGEST_PLOT = 14  # classes a side
CELL, MARGIN, HEAD = 34, 190, 150  # px
LETTER = 7  # px, on the wide side
SHOWN = 5  # classes that lost, and that won


def what_broke(rows: Sequence[Row]) -> str:
    """A part of the page for each stage that is held against another: what was lost and won, class by class."""
    plots = []
    for row in rows:
        if row.p_value is None or not (row.losers or row.winners):
            continue
        caption = f"{row.stage} against {row.compared_to}"
        facts = f"lost {_share(row.lost)} of the images, won {_share(row.won)}; McNemar's p {row.p_value:.2g}"
        changes = [
            *(("lost", change) for change in row.losers[:SHOWN]),
            *(("won", change) for change in row.winners[:SHOWN]),
        ]
        items = "".join(f"<li>{escape(f'{how} in {change.told}')}</li>" for how, change in changes)
        plot = confusion_svg(row.broken, row.stage, row.compared_to or "", background="none") if row.broken else ""
        plots.append(f"<h3>{escape(caption)}</h3><p>{escape(facts)}</p><ul>{items}</ul>{plot}")
    return "".join(plots) or '<p class="soft">No two stages were compared on the same images.</p>'


def _share(value: float | None) -> str:
    return "?" if value is None else f"{value:.1%}"


def confusion_svg(
    broken: Sequence[tuple[str, str, int]], model: str, reference: str, *, background: str = "white"
) -> str:
    """What ``model`` broke: images right in the reference, by what they show (rows) and are now taken for (columns).

    The classes that lost most are drawn; what is left out is counted below. Names are escaped.
    """
    rows = [name for name, _ in _weights(broken, 0).most_common(LARGEST_PLOT)]
    shown = [pair for pair in broken if pair[0] in rows]
    columns = [name for name, _ in _weights(shown, 1).most_common(LARGEST_PLOT)]
    places = {name: column for column, name in enumerate(columns)}
    cells = {(rows.index(true), places[taken]): n for true, taken, n in shown if taken in places}
    total = sum(n for *_, n in broken)
    caption = f"{sum(cells.values())} of {total} images that {reference} got right and {model} does not"
    return matrix_svg(rows, columns, cells, caption, background=background)


def matrix_svg(
    rows: Sequence[str],
    columns: Sequence[str],
    cells: Mapping[tuple[int, int], int],
    caption: str,
    *,
    background: str = "none",
    right_on_diagonal: bool = False,
) -> str:
    """Counts by row and column, with a line below. Names are escaped.

    Args:
        rows: what images show.
        columns: what they are taken for.
        cells: images by the numbers of row and column.
        caption: the line.
        background: a color, or none.
        right_on_diagonal: what lies there is no mistake, and has another color.
    """
    wrong = [n for (y, x), n in cells.items() if not right_on_diagonal or y != x]
    most, largest = max(wrong, default=1), max(cells.values(), default=1)
    parts = []
    for y, true in enumerate(rows):
        parts.append(_label(MARGIN - 8, HEAD + CELL * (y + 0.6), true, "end"))
        for x in range(len(columns)):
            n = cells.get((y, x), 0)
            left, top = MARGIN + CELL * x, HEAD + CELL * y
            good = right_on_diagonal and y == x
            shade = f"fill:#b3261e;fill-opacity:{n / most:.2f}" if n else "fill:#808080;fill-opacity:0.1"
            shade = f"fill:#0a7a53;fill-opacity:{n / largest:.2f}" if good and n else shade
            parts.append(f'<rect x="{left}" y="{top}" width="{CELL - 2}" height="{CELL - 2}" style="{shade}"/>')
            if n:
                parts.append(_label(left + CELL / 2 - 1, top + CELL * 0.6, str(n), "middle"))
    for x, taken in enumerate(columns):
        place = f"translate({MARGIN + CELL * (x + 0.6):.0f} {HEAD - 8}) rotate(-45)"
        parts.append(f'<g transform="{place}">{_label(0, 0, taken, "start")}</g>')
    width, height = MARGIN + CELL * len(columns) + HEAD, HEAD + CELL * len(rows) + 40
    width = max(width, 24 + LETTER * len(caption))
    parts.append(f'<text x="12" y="{height - 12}">{escape(caption)}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" style="max-width:{width}px" '
        f'role="img" aria-label="{escape(caption)}" font-family="sans-serif" font-size="12">'
        f'<rect width="100%" height="100%" fill="{background}"/>{"".join(parts)}</svg>\n'
    )


def _weights(broken: Sequence[tuple[str, str, int]], side: int) -> Counter[str]:
    weights: Counter[str] = Counter()
    for pair in broken:
        weights[str(pair[side])] += pair[2]
    return weights


def _label(x: float, y: float, text: str, anchor: str) -> str:
    short = text if len(text) <= 26 else text[:25] + "…"
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{escape(short)}</text>'
