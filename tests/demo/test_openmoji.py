"""The embedded default: its split is fixed and clean, and its teacher is what it is said to be."""

from pathlib import Path

import numpy as np
import pytest

import edgeclip.demo
from edgeclip import load
from edgeclip.demo.openmoji import TEMPLATES, load_openmoji, sentences, write_dataset
from edgeclip.evaluate import evaluate
from edgeclip.evaluate.datasets import open_dataset


@pytest.fixture(scope="module")
def emoji():
    return load_openmoji()


def test_the_split_is_a_fifth_and_shares_no_drawing(emoji):
    tested = [e for e in emoji if e.held_out]
    assert 0.18 < len(tested) / len(emoji) < 0.22
    assert len(tested) >= 600
    assert len({np.asarray(e.image).tobytes() for e in emoji}) == len(emoji)
    assert len({e.name for e in emoji}) == len(emoji)


def test_no_sentence_speaks_of_a_held_out_name(emoji):
    told = set(sentences(emoji))
    assert not told & {template.format(e.name) for e in emoji if e.held_out for template in TEMPLATES}
    assert sentences(emoji) == sentences(emoji[::-1])


def test_the_teacher_is_small_and_good(tmp_path):
    folder = Path(edgeclip.demo.__file__).parent / "teacher"
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 16e6
    write_dataset(tmp_path / "data")
    result = evaluate(load("demo"), open_dataset(tmp_path / "data/heldout"))
    assert len(result.labels) == 760
    assert result.top1 > 0.55  # measured: 0.570
