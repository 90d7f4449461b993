"""Text towers by the room there is."""

import open_clip
import pytest

from edgeclip.selection.texttowers import CONTEXT, VOCABULARY, TextTower, largest_text_tower, text_advice, text_towers


def test_parameters_are_open_clips_own():
    tower = TextTower(width=128, layers=2, embed_dim=64)
    built = open_clip.transformer.TextTransformer(CONTEXT, VOCABULARY, 128, tower.heads, 2, output_dim=64)
    assert tower.params_m * 1e6 == sum(p.numel() for p in built.parameters())


@pytest.mark.parametrize("room", [30, 60, 150, 400])
def test_the_largest_that_fits(room):
    best = largest_text_tower(room)
    assert best.size_mb <= room
    assert all(t.layers * t.width**2 <= best.layers * best.width**2 for t in text_towers() if t.size_mb <= room)
    assert f"layers = {best.layers}" in text_advice(room)


def test_no_room():
    assert largest_text_tower(5) is None
    assert "labels' embeddings" in text_advice(5)
