"""A text tower of the student's own, for devices that must embed new sentences: which fits the room there is.

Where labels are known beforehand a device needs none: their embeddings are computed once, and travel in the bundle.
"""

from __future__ import annotations

from dataclasses import dataclass

WIDTHS = tuple(range(128, 769, 64))  # heads of 64, as CLIP's
LAYERS = tuple(range(1, 13))
HEAD_WIDTH = 64
CONTEXT, VOCABULARY = 77, 49408  # CLIP's tokenizer


@dataclass(frozen=True)
class TextTower:
    """open_clip's text transformer of that width and depth."""

    width: int
    layers: int
    embed_dim: int = 512

    @property
    def heads(self) -> int:
        """Attention heads."""
        return self.width // HEAD_WIDTH

    @property
    def params_m(self) -> float:
        """Millions of parameters, most of them the vocabulary's."""
        w = self.width
        ends = (VOCABULARY + CONTEXT) * w + 2 * w + w * self.embed_dim
        return (ends + self.layers * (12 * w**2 + 13 * w)) / 1e6

    @property
    def size_mb(self) -> float:
        """As exported, in fp32."""
        return 4 * self.params_m


def text_towers() -> list[TextTower]:
    """Every text tower there is."""
    return [TextTower(width, layers) for width in WIDTHS for layers in LAYERS]


def largest_text_tower(size_mb: float) -> TextTower | None:
    """Of those that fit ``size_mb``, the one with the most parameters outside the vocabulary; None where none fits."""
    fitting = [tower for tower in text_towers() if tower.size_mb <= size_mb]
    return max(fitting, key=lambda tower: (tower.layers * tower.width**2, -tower.size_mb), default=None)


def text_advice(size_mb: float) -> str:
    """Which text tower of the student's own fits ``size_mb``, as the training settings want it, or none."""
    if tower := largest_text_tower(size_mb):
        shape = f"width = {tower.width}, layers = {tower.layers}, heads = {tower.heads}"
        return f'text tower: {tower.size_mb:.0f} MB; in --config: text_tower = "student", text_shape = {{ {shape} }}'
    return f"no text tower fits {size_mb:g} MB: have the bundle carry its labels' embeddings instead"
