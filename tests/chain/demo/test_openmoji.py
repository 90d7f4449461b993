"""The embedded default: its split is fixed and clean, and its teacher is what it is said to be."""

import numpy as np
import pytest
from PIL import Image

from edgeclip import load
from edgeclip.chain.demo.openmoji import ALIKE, TEMPLATES, Emoji, load_openmoji, sentences, write_dataset
from edgeclip.chain.loading import demo_teacher
from edgeclip.evaluation import evaluate
from edgeclip.images.datasets import open_dataset


@pytest.fixture(scope="module")
def emoji():
    return load_openmoji()


def test_the_split_is_a_fifth_and_shares_no_drawing(emoji):
    tested = [e for e in emoji if e.held_out]
    assert 0.18 < len(tested) / len(emoji) < 0.22
    assert len(tested) >= 600
    assert len({e.name for e in emoji}) == len(emoji)


def test_no_held_out_drawing_looks_like_one_that_is_trained_on(emoji):
    pixels = np.stack([np.asarray(e.image, np.float32).ravel() for e in emoji])
    held_out = np.array([e.held_out for e in emoji])
    trained, tested = pixels[~held_out], pixels[held_out]
    square = (tested**2).sum(axis=1)[:, None] + (trained**2).sum(axis=1) - 2 * tested @ trained.T
    assert square.min() > pixels.shape[1] * ALIKE**2


def test_a_drawing_of_several_emoji_is_held_out_with_all_of_its_names():
    white = Image.new("RGB", (64, 64), "white")
    out, known = (next(n for n in map(str, range(99)) if Emoji("", [n], [], white).held_out == want) for want in (1, 0))
    assert Emoji("", [out, out], [], white).held_out
    assert not Emoji("", [out, known], [], white).held_out


def test_no_sentence_speaks_of_a_held_out_name(emoji):
    told = set(sentences(emoji))
    assert not told & {template.format(e.name) for e in emoji if e.held_out for template in TEMPLATES}
    assert sentences(emoji) == sentences(emoji[::-1])


@pytest.mark.slow
def test_the_teacher_is_small_and_good(tmp_path):
    assert sum(file.stat().st_size for file in demo_teacher().iterdir()) <= 16e6
    write_dataset(tmp_path / "data")
    result = evaluate(load("demo"), open_dataset(tmp_path / "data/heldout"))
    assert len(result.labels) >= 600
    assert result.top1 >= 0.60
