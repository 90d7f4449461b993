import numpy as np
import pytest

from edgeclip.errors import EdgeclipError
from edgeclip.runtime.labels import SHOWN, LabelScorer, read_labels


def test_labels_come_from_the_command_line_or_a_file(tmp_path):
    assert read_labels("a cat, a dog ,a cat") == ["a cat", "a dog"]
    (tmp_path / "names.txt").write_text("a cat, sitting\n\n<b>a dog</b>\n")
    assert read_labels(str(tmp_path / "names.txt")) == ["a cat, sitting", "<b>a dog</b>"]


@pytest.mark.parametrize(("given", "complaint"), [("", "no labels"), (" , ", "no labels"), ("a cat", "one label")])
def test_too_few_labels(given, complaint):
    with pytest.raises(EdgeclipError, match=complaint):
        read_labels(given)


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / "names.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EdgeclipError, match="UTF-8"):
        read_labels(str(tmp_path / "names.txt"))


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
