"""CLIP's byte-pair tokenizer as a Hugging Face ``tokenizer.json``, so that a device needs no open_clip to tokenize."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..base.files import write_text

CLIP_START, CLIP_END = "<start_of_text>", "<end_of_text>"
# How CLIP splits a text into words before merging bytes; the contractions come first. CLIP matches without regard to
# case, by which one mark, U+0345, is neither a letter nor anything else: it falls between words.
WORDS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}\u0345]+"


def clip_tokenizer_json(vocab: Mapping[str, int], merges: Sequence[tuple[str, str]], *, lower: bool = True) -> str:
    """The file's content, for a vocabulary in CLIP's byte alphabet with ``</w>`` word ends, and its merges.

    ``lower`` is for texts that are cleaned to lower case: what that leaves in upper case is not.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    model = models.BPE(vocab=dict(vocab), merges=list(merges), end_of_word_suffix="</w>", unk_token=CLIP_END)
    tokenizer = Tokenizer(model)
    if lower:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    ends = [(CLIP_START, vocab[CLIP_START]), (CLIP_END, vocab[CLIP_END])]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{CLIP_START} $A {CLIP_END}", special_tokens=ends)
    tokenizer.add_special_tokens([AddedToken(name, normalized=False) for name, _ in ends])
    return str(tokenizer.to_str())


def write_clip_tokenizer(simple: Any, path: Path, *, lower: bool = True) -> None:
    """Write open_clip's ``SimpleTokenizer`` as ``tokenizer.json``."""
    merges = sorted(simple.bpe_ranks, key=simple.bpe_ranks.get)
    write_text(path, clip_tokenizer_json(simple.encoder, merges, lower=lower))
