"""The runner's tokenizer against open_clip's: a thousand odd strings, and what Hypothesis thinks of."""

import random

import open_clip
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeclip.base.errors import FormatError
from edgeclip.models.tokenizer_json import write_clip_tokenizer
from edgeclip.runtime.bytepairs import BytePairTokenizer
from edgeclip.runtime.manifest import TokenizerRules
from edgeclip.runtime.tokenizer import Tokenizer

THEIRS = open_clip.SimpleTokenizer(context_length=16)
PIECES = [
    *("It's", "don't", "!!'s", "'ve", "naïve", "CAFÉ", "你好", "😀👩‍🚀", "½²", "12.5", "&amp;lt;", "İstanbul", "ﬁne"),
    *(
        # With a blank: right behind a symbol open_clip takes it for one, where a tokenizer.json always finds it.
        " <end_of_text>",
        " <start_of_text>",
        "\t",
        "\n",
        "  ",
        "“quoted”",
        "dog’s",
        "x" * 60,
        "_",
        "—",
        "Ω≈ç√",
        "ß",
        "١٢٣",
        "\u0345",
    ),
]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    write_clip_tokenizer(THEIRS, path)
    settings = {"context_length": 16, "pad_id": 0, "clean": "lower"}
    return BytePairTokenizer(path, **settings), Tokenizer(path, TokenizerRules(**settings))


def test_a_thousand_odd_strings(both):
    pick = random.Random(0)
    texts = ["".join(pick.choices([*PIECES, " ", "a"], k=pick.randint(0, 9))) for _ in range(1000)]
    expected = THEIRS(texts).numpy()
    for ours in both:
        wrong = [text for text, same in zip(texts, (ours(texts) == expected).all(axis=1), strict=True) if not same]
        assert wrong == []


@settings(max_examples=200, deadline=None)
# Code points that no Unicode version has assigned yet are split differently by different tables.
@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cn", "Co", "Cs")), max_size=60))
def test_on_any_text(both, text):
    assert (both[0]([text]) == THEIRS([text]).numpy()).all()


@pytest.mark.parametrize("content", ["{}", "[]", "nonsense", '{"model": {"type": "Unigram"}}'])
def test_other_kinds_are_refused_with_advice(content, tmp_path):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(FormatError, match=r"edgeclip\[tokenizers\]"):
        BytePairTokenizer(tmp_path / "tokenizer.json", context_length=16)
