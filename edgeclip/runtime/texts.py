"""Clean a text as open_clip does before it is tokenized."""

from __future__ import annotations

import html
import string
import unicodedata

try:
    import ftfy
except ImportError:  # the single-file runner lives without it: quotes and composition are mended, mojibake is not
    ftfy = None  # type: ignore[assignment]

QUOTES = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "′": "'"})


def mend(text: str) -> str:
    """Mend mojibake, quotes, composition and HTML entities (twice: they come escaped twice)."""
    mended = ftfy.fix_text(text) if ftfy else unicodedata.normalize("NFC", text).translate(QUOTES)
    return html.unescape(html.unescape(mended))


def clean_whitespace(text: str) -> str:
    """Mend, and join white space."""
    return " ".join(mend(text).split())


def clean_lower(text: str) -> str:
    """As :func:`clean_whitespace`, in lower case: OpenAI's CLIP and most that follow it."""
    return clean_whitespace(text).lower()


def clean_canonicalize(text: str) -> str:
    """As :func:`clean_lower`, without punctuation: SigLIP and other models of big_vision's line."""
    mended = mend(text).strip().replace("_", " ")
    return " ".join(mended.translate(str.maketrans("", "", string.punctuation)).lower().split())


CLEANERS = {"lower": clean_lower, "whitespace": clean_whitespace, "canonicalize": clean_canonicalize}
