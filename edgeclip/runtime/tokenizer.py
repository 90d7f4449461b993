"""Texts to token ids, equal to open_clip's tokenizer of the same model, from one ``tokenizer.json``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tokenizers
from numpy.typing import NDArray

from ..errors import FormatError
from .texts import CLEANERS


class Tokenizer:
    """A Hugging Face ``tokenizer.json`` driven as open_clip drives it: clean, encode, cut, pad."""

    def __init__(self, file: Path, *, context_length: int, pad_id: int, clean: str) -> None:
        try:
            self._encode = tokenizers.Tokenizer.from_file(str(file))
        except Exception as error:  # the Rust side raises bare Exception
            raise FormatError(f"{file}: not a tokenizer.json ({error})") from error
        self._encode.no_padding()
        self._encode.enable_truncation(context_length)
        self.context_length, self.pad_id = context_length, pad_id
        self._clean = CLEANERS[clean]

    def __call__(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """int64 ``[N, context_length]``; what is too long is cut, and still ends in the end-of-text token."""
        ids = np.full((len(texts), self.context_length), self.pad_id, np.int64)
        for row, found in enumerate(self._encode.encode_batch([self._clean(text) for text in texts])):
            ids[row, : len(found.ids)] = found.ids
        return ids
