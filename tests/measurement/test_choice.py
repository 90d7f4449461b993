"""Which variant is recommended."""

from hypothesis import given
from hypothesis import strategies as st

from edgeclip.runtime.choice import CLEARLY, fastest, recommend

OPTIONS = st.dictionaries(st.text(max_size=3), st.tuples(st.floats(0.1, 10), st.floats(0.9, 1)), min_size=1)


def test_the_fastest_is_recommended_where_it_is_clearly_faster():
    assert recommend({"fp32": (1.0, 1.0), "int8": (2.0, 0.999), "fp16": (1.4, 0.9999)}) == "int8"
    assert recommend({"fp32": (1.0, 1.0), "int8": (1.02, 0.999)}) is None
    assert recommend({"int8": (1.03, 0.999)}) == "int8"
    assert recommend({}) is None


def test_of_those_that_are_as_fast_the_most_faithful():
    assert fastest({"a": (2.02, 0.9991), "b": (2.0, 0.9999)}) == "b"
    assert fastest({"a": (2.1, 0.9991), "b": (2.0, 0.9999)}) == "a"


@given(OPTIONS)
def test_nothing_is_clearly_faster_than_the_one_that_is_taken(options):
    speed, cosine = options[fastest(options)]
    assert all(other <= CLEARLY * speed * (1 + 1e-9) for other, _ in options.values())
    top = max(speed for speed, _ in options.values())
    assert all(other <= cosine or speed * CLEARLY < top for speed, other in options.values())
