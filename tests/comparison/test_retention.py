"""What was kept and what broke, image by image: nothing is exchanged, nothing is counted twice."""

import io

import numpy as np
import pytest
from rich.console import Console

from edgeclip.cli.evaluation_tables import retention_table
from edgeclip.comparison.retention import retention
from edgeclip.evaluation.chance import collapsed, doubts
from edgeclip.evaluation.embed import Embedded
from edgeclip.evaluation.metrics import interval, mcnemar
from edgeclip.evaluation.zeroshot import classify

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


def test_kept_is_of_what_is_above_chance():
    """Always the commonest class is right of 110 of 200 images: 190 right of the reference are 40 % above that."""
    labels = [0] * 90 + [1] * 110
    reference = answers(labels[:-10] + [0] * 10, labels)
    guess = answers([1] * 200, labels)
    good = answers(labels[:-20] + [0] * 20, labels)
    found = retention({"teacher": reference, "guess": guess, "good": good}, NAMES, dataset="d")
    assert (found.chance, found.classes) == (0.55, 3)
    assert [row.retention for row in found.rows] == [None, 0.0, pytest.approx((0.9 - 0.55) / (0.95 - 0.55))]
    blind = retention({"teacher": guess, "good": good}, NAMES, dataset="d").rows[1]
    assert blind.retention is None, "of a reference at chance nothing can be kept"
    remarks = [row.remarks for row in found.rows]
    told_collapse = "one label takes 200 of 200 answers: they have collapsed"
    assert remarks == [[], ["top-1 is not clearly above chance (55.00%)", told_collapse], []]
    shown = Console(width=200, record=True, file=io.StringIO())
    shown.print(retention_table(retention({"teacher": guess, "good": good}, NAMES, dataset="d")))
    told = shown.export_text()
    assert f"teacher: {told_collapse}" in told
    assert "teacher knows no more than chance: nothing can be kept of it" in told


def test_answers_may_collapse_above_chance():
    """Half of 400 images are of one of four classes: who gives it alone is right of more than a guess would be."""
    labels = np.array([0] * 200 + [1, 2, 3] * 66 + [1, 2])
    answers = np.zeros(400, np.int64)
    assert doubts(answers, labels, 0.9, 0.5) == ["one label takes 400 of 400 answers: they have collapsed"]
    assert doubts(labels, labels, 1.0, 0.5) == []
    several = np.eye(4, dtype=bool)[labels]
    assert doubts(answers, several, 0.9, 0.5) == [], "an image may be of several: nobody counts their shares"
    assert collapsed([], 4.0) == ""


def test_the_bootstrap_draws_the_same_images_of_both():
    """A student that is wrong where its teacher is loses nothing, in any draw; drawn apart it would."""
    right = np.arange(200) % 3 > 0
    low, high = interval(lambda one, other: float(one.mean() - other.mean()), right, right)
    assert (low, high) == (0.0, 0.0)
    labels = (np.arange(200) % 3).tolist()
    wrong = [0 if label == 1 else label for label in labels]
    same = retention({"t": answers(wrong, labels), "s": answers(wrong, labels)}, NAMES, dataset="d").rows[1]
    assert -0.01 < same.change_low < 0.0 < same.change_high < 0.01, "of images in pairs: none changed"
