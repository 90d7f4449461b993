"""Texts to token ids, equal to open_clip's tokenizer of the same model, from one ``tokenizer.json``."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..base.errors import FormatError, require
from .bytepairs import BytePairTokenizer, is_plain
from .texts import CLEANERS

if TYPE_CHECKING:
    from .manifest import TokenizerRules


def open_tokenizer(file: Path, rules: TokenizerRules) -> Callable[[Sequence[str]], NDArray[np.int64]]:
    """Texts -> ids, int64 ``[N, context_length]``, by the package tokenizers; of CLIP's kind by our own without it.

    Raises:
        MissingExtra: it is missing, and the file is of another kind.
        FormatError: it is no tokenizer.json.
    """
    if importlib.util.find_spec("tokenizers") is None and is_plain(rules.model_dump()):
        return BytePairTokenizer(file, context_length=rules.context_length, pad_id=rules.pad_id, clean=rules.clean)
    return Tokenizer(file, rules)


class Tokenizer:
    """A Hugging Face ``tokenizer.json`` driven as open_clip drives it: clean, encode, cut, pad."""

    def __init__(self, file: Path, rules: TokenizerRules) -> None:
        """Read the file.

        Raises:
            MissingExtra: the package tokenizers is not installed.
            FormatError: it is no tokenizer.json.
        """
        tokenizers: Any = require("tokenizers", "tokenizers")
        try:
            self._encode = tokenizers.Tokenizer.from_file(str(file))
        except Exception as error:  # the Rust side raises bare Exception
            raise FormatError(f"{file}: not a tokenizer.json ({error})") from error
        self._encode.no_padding()
        if rules.clips:
            self._encode.no_truncation()
        else:
            self._encode.enable_truncation(rules.context_length)
        self.rules, self.context_length, self.pad_id = rules, rules.context_length, rules.pad_id
        self._clean = CLEANERS[rules.clean]

    def __call__(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """int64 ``[N, context_length]``; what is too long is cut, and still ends in the end-of-text token."""
        clips, context = self.rules.clips, self.context_length
        ids = np.full((len(texts), context), self.pad_id, np.int64)
        cleaned = [self._clean(text) for text in texts]
        for row, encoding in enumerate(self._encode.encode_batch(cleaned, add_special_tokens=clips is None)):
            # In "clips" mode the class token comes last of all, after the padding.
            ids_of = [clips[0], *encoding.ids[: context - 3], clips[1]] if clips else encoding.ids
            place = slice(len(ids_of)) if self.rules.pad_side == "right" else slice(context - len(ids_of), None)
            ids[row, place] = ids_of
        if clips:
            ids[:, -1] = clips[2]
        if self.rules.zeroed_id is not None:
            ids[ids == self.rules.zeroed_id] = 0
        return ids

    def piece(self, token: int) -> str:
        """What a token stands for, as the file has it.

        Raises:
            FormatError: there is no such token.
        """
        text = self._encode.id_to_token(token)
        if text is None:
            raise FormatError(f"the tokenizer has no token {token}")
        return str(text)
