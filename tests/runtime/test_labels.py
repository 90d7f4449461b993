import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeclip.base.errors import EdgeclipError
from edgeclip.runtime.labels import NONE, SHOWN, LabelScorer, odds, read_labels


def test_labels_come_from_the_command_line_or_a_file(tmp_path):
    told = []
    assert read_labels("a cat, a dog ,a cat", told.append) == ["a cat", "a dog"]
    assert told == ["given more than once, counted once: a cat"]
    (tmp_path / "names.txt").write_text("a cat, sitting\n\n<b>a dog</b>\n")
    assert read_labels(str(tmp_path / "names.txt"), told.append) == ["a cat, sitting", "<b>a dog</b>"]
    assert len(told) == 1


@pytest.mark.parametrize("given", ["", " , "])
def test_no_labels(given):
    with pytest.raises(EdgeclipError, match="no labels"):
        read_labels(given, print)


def test_one_label_says_something_where_it_has_a_probability_of_its_own():
    encode = lambda part: np.float32([[1, 0]] * len(part))  # noqa: E731
    with pytest.raises(EdgeclipError, match="a single label always wins"):
        LabelScorer(["a cat"], encode, 10.0)
    (ranked,) = LabelScorer(["a cat"], encode, 10.0, logit_bias=-5.0).best(np.float32([[0.9, 0.1]]))
    assert [label for label, _ in ranked] == ["a cat", NONE]
    assert sum(p for _, p in ranked) == pytest.approx(1)


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / "names.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EdgeclipError, match="UTF-8"):
        read_labels(str(tmp_path / "names.txt"), print)


def test_the_likeliest_come_first_with_their_share_among_all():
    axes = np.eye(3, dtype=np.float32)
    scorer = LabelScorer("abc", lambda part: axes[["abc".index(label) for label in part]], logit_scale=1.0)
    (ranked,) = scorer.best(np.float32([[0.2, 0.9, 0.1]]))
    assert [label for label, _ in ranked] == ["b", "a", "c"]
    assert sum(share for _, share in ranked) == pytest.approx(1)


def test_a_hundred_thousand_labels(bundle):
    labels = [f"thing {number}" for number in range(100_000)]
    encode = lambda part: np.float32([[len(label), 1] for label in part])  # noqa: E731
    (ranked,) = LabelScorer(labels, encode, logit_scale=1.0).best(np.float32([[0.1, 0.0]]))
    assert len(ranked) == SHOWN
    assert all(len(label) == len("thing 99999") for label, _ in ranked)


def test_with_a_bias_each_label_has_its_own_probability_and_none_may_fit():
    axes = np.eye(3, dtype=np.float32)
    scorer = LabelScorer("abc", lambda part: axes[["abc".index(label) for label in part]], 10.0, logit_bias=-5.0)
    strange, clear = scorer.best(np.float32([[0.2, 0.1, 0.0], [0.0, 0.9, 0.6]]))
    own = {label: 1 / (1 + np.exp(-(10 * x - 5))) for label, x in zip("abc", (0.2, 0.1, 0.0), strict=True)}
    assert strange[0] == (NONE, pytest.approx(np.prod([1 - p for p in own.values()]), rel=1e-5))
    assert dict(strange[1:]) == pytest.approx(own)
    assert [label for label, _ in clear[:2]] == ["b", "c"]
    assert sum(p for _, p in clear) > 1, "two of them fit"


@given(st.floats(-1, 1), st.floats(1, 200), st.floats(-20, 20))
def test_odds_are_probabilities_whatever_the_scale(cosine, scale, bias):
    cosines = np.float32([[cosine, 0.0]])
    assert odds(cosines, scale, None).sum() == pytest.approx(1)
    own = odds(cosines, scale, bias)
    assert ((own >= 0) & (own <= 1)).all()
    assert np.argsort(own[0]).tolist() == np.argsort(odds(cosines, scale, None)[0]).tolist() or own[0, 0] == own[0, 1]
