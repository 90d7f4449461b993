"""Two models' answers, counted image by image."""

import pytest

from edgeclip.comparison.answers import compare_answers
from edgeclip.evaluation.intervals import wilson


@pytest.fixture
def compared():
    """Of six images: two the same and right, one the same and wrong, two lost, one won."""
    return compare_answers(
        [0, 1, 2, 2, 2, 0],
        [0, 1, 2, 0, 1, 1],
        [True, True, False, False, False, True],
        [True, True, False, True, True, False],
    )


def test_each_image_is_counted_once(compared):
    assert (compared.images, compared.same, compared.lost, compared.won) == (6, 3, 2, 1)
    assert compared.agreement == 0.5
    assert compared.flip_interval == wilson(0.5, 6)


def test_the_change_is_negative_where_more_was_lost(compared):
    low, high = compared.change_interval
    assert low < (1 - 2) / 6 < high
    turned = compare_answers([0], [1], [True], [False])
    assert sum(turned.change_interval) > 0
