"""What was kept and what broke, image by image: nothing is exchanged, nothing is counted twice."""

import numpy as np
import pytest

from edgeclip.evaluate.embed import Embedded
from edgeclip.evaluate.metrics import interval, mcnemar
from edgeclip.evaluate.retention import retention
from edgeclip.evaluate.zeroshot import classify

NAMES = ["a", "b", "c"]


def answers(rows, labels):
    embeds = np.eye(3, dtype=np.float32)[rows]
    keys = [f"{number}.png" for number in range(len(labels))]
    return classify(Embedded(embeds, np.array(labels), [], keys), np.eye(3, dtype=np.float32))


@pytest.fixture
def kept():
    """Of ten images the reference has eight right; the other loses four of class a and wins one of class b."""
    labels = [0, 0, 0, 0, 0, 1, 1, 1, 2, 2]
    reference = answers([0, 0, 0, 0, 0, 1, 0, 0, 2, 2], labels)
    result = answers([1, 1, 1, 2, 0, 1, 1, 0, 2, 2], labels)
    return retention({"teacher": reference, "student": result}, NAMES, dataset="d").rows[1]


def test_losers_lost_and_winners_won_with_their_own_examples(kept):
    (loser,), (winner,) = kept.losers, kept.winners
    assert (loser.name, loser.before, loser.after, loser.images) == ("a", 1.0, pytest.approx(0.2), 5)
    assert loser.examples == ["0.png", "1.png", "2.png"] or set(loser.examples) <= {f"{n}.png" for n in range(4)}
    assert (winner.name, winner.before, winner.after) == ("b", pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert winner.examples == ["6.png"]
    assert kept.broken[0] == ("a", "b", 3)


def test_mcnemar_is_of_what_changed(kept):
    assert (kept.lost, kept.gained) == (4, 1)
    assert kept.p_value == pytest.approx(mcnemar(4, 1)) == pytest.approx(0.375)


def test_the_bootstrap_draws_the_same_images_of_both():
    """A student that is wrong where its teacher is loses nothing, in any draw; drawn apart it would."""
    right = np.arange(200) % 3 > 0
    low, high = interval(lambda one, other: float(one.mean() - other.mean()), right, right)
    assert (low, high) == (0.0, 0.0)
    labels = (np.arange(200) % 3).tolist()
    wrong = [0 if label == 1 else label for label in labels]
    same = retention({"t": answers(wrong, labels), "s": answers(wrong, labels)}, NAMES, dataset="d").rows[1]
    assert (same.change_low, same.change_high) == (0.0, 0.0)
