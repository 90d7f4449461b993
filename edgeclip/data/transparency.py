"""Are the pictures cut-outs? Then what they hide is what a student learns, unless they are laid on a ground."""

from __future__ import annotations

import io

from ..base.console import say
from ..base.decode import UnreadableImage, read_image
from ..images.sources import Source

LOOKED_AT = 64  # images at most, spread over all of them
CLEAR = 128  # alpha below which a pixel is more hidden than seen
SOME, MANY = 0.05, 0.25  # of a picture's pixels; of the pictures


def say_transparent(source: Source) -> None:
    """Tell where many of the images are transparent in part, by some of them."""
    rows = range(0, len(source), max(1, len(source) // LOOKED_AT))[:LOOKED_AT]
    count = sum(_is_cut_out(source, row) for row in rows)
    if count >= MANY * len(rows):
        say(
            f"images: {count} of {len(rows)} looked at are transparent in part, and show the colours that they hide "
            'there, often black: ground = "ffffff" in the settings (--config) lays them on white'
        )


def _is_cut_out(source: Source, row: int) -> bool:
    try:
        picture = read_image(io.BytesIO(source.read(row)))
    except (UnreadableImage, OSError):
        return False
    if not picture.has_transparency_data:
        return False
    alpha = picture.convert("RGBA").getchannel("A").histogram()
    return sum(alpha[:CLEAR]) > SOME * sum(alpha)
