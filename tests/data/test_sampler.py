"""Batches of rows: all of them once a pass, in an order that seed and pass alone decide."""

from hypothesis import given
from hypothesis import strategies as st

from edgeclip.data.sampler import BatchSampler


@given(st.integers(1, 50), st.integers(1, 60), st.integers(0, 9))
def test_a_pass_shows_no_row_twice_and_only_whole_batches(rows, batch, seed):
    sampler = BatchSampler(rows, batch, seed)
    size = min(batch, rows)
    assert sampler.batches == rows // size
    for turn in range(2):
        seen = [row for place in range(sampler.batches) for row in sampler[turn * sampler.batches + place]]
        assert len(seen) == len(set(seen)) == sampler.batches * size
        assert set(seen) <= set(range(rows))


def test_the_order_is_of_seed_and_pass_alone():
    one, again, other = BatchSampler(64, 16, 0), BatchSampler(64, 16, 0), BatchSampler(64, 16, 1)
    assert [one[step] for step in range(12)] == [again[step] for step in reversed(range(12))][::-1]
    assert one[0] != other[0]
    assert [one[step] for step in range(4)] != [one[step] for step in range(4, 8)], "every pass is shuffled anew"
    assert one[0] != list(range(16))


def test_the_order_is_the_one_that_runs_were_made_with():
    """Another order would make a resumed run another run."""
    sampler = BatchSampler(10, 4, 3)
    assert [sampler[step] for step in (0, 1, 2, 5)] == [[4, 5, 0, 1], [2, 8, 3, 6], [1, 9, 5, 6], [8, 5, 1, 2]]
