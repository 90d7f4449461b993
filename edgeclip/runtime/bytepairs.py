"""CLIP's byte-pair encoding in plain Python, for the single-file runner: no package of compiled code is needed.

Byte pairs after Sennrich et al. (arXiv 1508.07909), over GPT-2's printable alphabet of bytes, words ending in ``</w>``.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.errors import FormatError
from .texts import CLEANERS

END_OF_WORD = "</w>"
CONTRACTIONS = re.compile(r"'(?:s|t|re|ve|m|ll|d)", re.IGNORECASE)
NEITHER = "\u0345"  # a mark that falls between words: see the pattern in models/tokenizer_json.py


def is_plain(rules: Mapping[str, Any]) -> bool:
    """Whether a bundle's rules ask for nothing but what :class:`BytePairTokenizer` does."""
    return not rules.get("clips") and rules.get("zeroed_id") is None and rules.get("pad_side") != "left"


class BytePairTokenizer:
    """What :class:`~edgeclip.runtime.tokenizer.Tokenizer` gives for CLIP's kind of ``tokenizer.json``; slower."""

    def __init__(self, file: Path, *, context_length: int, pad_id: int = 0, clean: str = "lower") -> None:
        """Read the file.

        Raises:
            FormatError: it is no tokenizer.json, or of another kind than CLIP's.
        """
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            self._read(content)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
            reason = f"{type(error).__name__}: {error}"
            raise FormatError(
                f"{file}: not a tokenizer of CLIP's kind ({reason}): pip install 'edgeclip[tokenizers]' reads others"
            ) from error
        self.context_length, self.pad_id = context_length, pad_id
        self._clean = CLEANERS[clean]
        self._alphabet = _byte_alphabet()
        self._known: dict[str, list[int]] = {}

    def _read(self, content: dict[str, Any]) -> None:
        model = content["model"]
        if model["type"] != "BPE" or model["end_of_word_suffix"] != END_OF_WORD:
            raise ValueError(f"its model is {model['type']}")
        self._lower = content.get("normalizer") is not None  # texts that are not cleaned to lower case stay as they are
        self._vocab = dict(model["vocab"])
        pairs = (tuple(pair.split(" ")) if isinstance(pair, str) else tuple(pair) for pair in model["merges"])
        self._ranks = {pair: rank for rank, pair in enumerate(pairs)}
        self._special = {token["content"]: int(token["id"]) for token in content["added_tokens"]}
        self._split = re.compile("(" + "|".join(map(re.escape, self._special)) + ")") if self._special else None
        frame = content["post_processor"]["single"]
        middle = next(number for number, part in enumerate(frame) if "Sequence" in part)
        ids = [self._special[part["SpecialToken"]["id"]] for part in frame if "SpecialToken" in part]
        self._before, self._after = ids[:middle], ids[middle:]

    def __call__(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """int64 ``[N, context_length]``; what is too long is cut, and still ends in the end-of-text token."""
        ids = np.full((len(texts), self.context_length), self.pad_id, np.int64)
        room = self.context_length - len(self._before) - len(self._after)
        for row, text in enumerate(texts):
            tokens = [*self._before, *self._encode(self._clean(text))[:room], *self._after]
            ids[row, : len(tokens)] = tokens
        return ids

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = []
        for part in self._split.split(text) if self._split else [text]:
            if part in self._special:
                ids.append(self._special[part])
                continue
            for word in _words(part.lower() if self._lower else part):
                if word not in self._known:
                    self._known[word] = [self._vocab[piece] for piece in self._merged(word)]
                ids += self._known[word]
        return ids

    def _merged(self, word: str) -> list[str]:
        """The word's bytes, the most frequent pairs joined first."""
        pieces = [self._alphabet[byte] for byte in word.encode("utf-8")]
        pieces[-1] += END_OF_WORD
        while len(pieces) > 1:
            ranked = [self._ranks.get(pair, len(self._ranks)) for pair in pairwise(pieces)]
            best = min(ranked)
            if best == len(self._ranks):
                break
            first, second = pieces[ranked.index(best)], pieces[ranked.index(best) + 1]
            joined, i = [], 0
            while i < len(pieces):
                if pieces[i] == first and pieces[i + 1 : i + 2] == [second]:
                    joined.append(first + second)
                    i += 2
                else:
                    joined.append(pieces[i])
                    i += 1
            pieces = joined
        return pieces


def _words(text: str) -> Iterator[str]:
    r"""CLIP's split: ``'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+``."""
    at = 0
    while at < len(text):
        if contraction := CONTRACTIONS.match(text, at):
            yield contraction[0]
            at = contraction.end()
            continue
        kind, end = _kind(text[at]), at + 1
        while kind in "LS" and end < len(text) and _kind(text[end]) == kind:
            end += 1
        if kind != " ":
            yield text[at:end]
        at = end


def _kind(letter: str) -> str:
    """L a letter, N a number, blank white space, S anything else."""
    category = unicodedata.category(letter)[0]
    return category if category in "LN" else " " if letter.isspace() or letter == NEITHER else "S"


def _byte_alphabet() -> list[str]:
    """GPT-2's: a printable character stands for itself, the others for 256 and on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) if byte in printable else chr(256 + others.index(byte)) for byte in range(256)]
