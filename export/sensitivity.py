"""Which blocks does int8 hurt? Each is quantised alone; the worst go back to float until the gate holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..base.console import progress_bar
from ..base.visible import escape
from .int8 import Calibrated, Recipe

Embed = Callable[[Recipe], NDArray[np.float32]]  # quantise by this recipe, embed the images it is judged on
MOST = 0.5  # of the blocks: beyond that int8 has lost what it is for


@dataclass(frozen=True)
class Sensitivity:
    """A block, and the mean of 1 - cosine to the reference when it alone is int8."""

    block: str
    error: float


def rank_blocks(
    calibrated: Calibrated, recipe: Recipe, embed: Embed, reference: NDArray[np.float32]
) -> list[Sensitivity]:
    """Every block with something to quantise, the most sensitive first.

    Args:
        calibrated: the tower.
        recipe: how a block is quantised.
        embed: gives the embeddings, float32 ``[N, D]``, of the tower by a recipe.
        reference: those of the float tower.
    """
    blocks = calibrated.blocks
    ranking = []
    with progress_bar("sensitivity", len(blocks)) as bar:
        for block in blocks:
            others = tuple(other for other in blocks if other != block)
            embeds = embed(replace(recipe, kept_float=others))
            error = 1 - (embeds.astype(np.float64) * reference).sum(axis=1).mean()
            ranking.append(Sensitivity(block, float(error)))
            bar.advance()
    return sorted(ranking, key=lambda entry: -entry.error)


def restored(recipe: Recipe, ranking: list[Sensitivity]) -> Iterator[Recipe]:
    """``recipe`` with the worst block in float, then the worst two, and so on to half of them."""
    for count in range(1, int(MOST * len(ranking)) + 1):
        yield replace(recipe, kept_float=tuple(block.block for block in ranking[:count]))


def plot(ranking: list[Sensitivity], steps: list[tuple[int, float]], gate: float) -> str:
    """An SVG of the trade-off: each block's error as a bar, and the cosine reached with the worst ones in float."""
    width, left, row, top = 560, 250, 18, 24
    height = top + row * len(ranking) + 20 + row * (len(steps) + 2)
    largest = max((block.error for block in ranking), default=0) or 1
    lines = [f'<text x="4" y="14">error (1 - cosine) of a block when it alone is int8; gate {gate:g}</text>']
    for number, block in enumerate(ranking):
        y = top + row * number
        long = (width - left - 90) * max(block.error, 0) / largest
        lines.append(f'<text x="{left - 6}" y="{y + 12}" text-anchor="end">{escape(block.block[-38:])}</text>')
        lines.append(f'<rect x="{left}" y="{y + 3}" width="{long:.1f}" height="{row - 6}" fill="#4477aa"/>')
        lines.append(f'<text x="{left + long + 4:.1f}" y="{y + 12}">{block.error:.2g}</text>')
    for number, (blocks, cosine) in enumerate(steps):
        y = top + row * (len(ranking) + number + 1) + 14
        mark = "passes" if cosine >= gate else "below the threshold"
        lines.append(f'<text x="4" y="{y}">{blocks} worst in float: cosine {cosine:.6f}, {mark}</text>')
    body = "".join(lines)
    style = 'font-family="sans-serif" font-size="11"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {style}>{body}</svg>\n'
