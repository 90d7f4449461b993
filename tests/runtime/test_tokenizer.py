import sys

import open_clip
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeclip.base.errors import FormatError, MissingExtra
from edgeclip.models.tokenizer_json import write_clip_tokenizer
from edgeclip.runtime import tokenizer as module
from edgeclip.runtime.bytepairs import BytePairTokenizer
from edgeclip.runtime.manifest import TokenizerRules
from edgeclip.runtime.tokenizer import Tokenizer, open_tokenizer

THEIRS = open_clip.SimpleTokenizer(context_length=16)
ODD = [
    "It's 3 dogs!! don't",
    "naïve café 你好 😀👩‍🚀",
    "",
    "a " * 100,
    "<end_of_text> x <start_of_text>",
    "&amp;lt; 12.5",
    "a\u0345b \u0345",  # a mark that falls between words
]


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    write_clip_tokenizer(THEIRS, path)
    return Tokenizer(path, TokenizerRules(context_length=16))


@pytest.mark.parametrize("text", ODD)
def test_ids_are_those_of_open_clip(ours, text):
    assert (ours([text]) == THEIRS([text]).numpy()).all()


@settings(max_examples=300, deadline=None)
# Code points that no Unicode version has assigned yet are split differently by the two regular expression engines.
@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cn", "Co", "Cs")), max_size=60))
def test_on_any_text(ours, text):
    assert (ours([text]) == THEIRS([text]).numpy()).all()


def test_what_is_no_tokenizer_is_refused(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(FormatError, match=r"not a tokenizer\.json"):
        Tokenizer(tmp_path / "tokenizer.json", TokenizerRules(context_length=16))


def test_clips_kind_needs_no_package(tmp_path, monkeypatch):
    path = tmp_path / "tokenizer.json"
    write_clip_tokenizer(open_clip.SimpleTokenizer(context_length=16), path)
    rules = TokenizerRules(context_length=16)
    with_package = open_tokenizer(path, rules)
    assert isinstance(with_package, Tokenizer)
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    without = open_tokenizer(path, rules)
    assert isinstance(without, BytePairTokenizer)
    texts = ["a photo of a cat", "naïve CAFÉ 😀", ""]
    assert (without(texts) == with_package(texts)).all()
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingExtra, match=r"edgeclip\[tokenizers\]"):
        open_tokenizer(path, rules.model_copy(update={"pad_side": "left"}))
