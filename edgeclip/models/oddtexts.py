"""Texts that tokenizers trip over: always the same, so that two tokenizers can be held against each other."""

from __future__ import annotations

import random

FIXED = (
    *(
        "",
        " ",
        "\n\t",
        "a" * 300,
        "word " * 120,
        "Hello, World!",
        "it's we'll I'M you'RE",
        "snake_case__x",
        "12,345.67",
    ),
    *(
        "&amp;amp; &lt;b&gt; &#39;",
        "\u00e2\u20ac\u0153mojibake\u00e2\u20ac\u009d",
        "\ufb01 \ufb02 \ufb00",
        "\u0130 \u0131 I",
    ),
    *("\u00df \u1e9e \u017f", "e\u0301 \u00e9", "\u0345x", "a\u200bb\u00adc", "\u00bd \u00b2 \u2460 \u2163"),
    *("\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8", "\ud55c\uad6d\uc5b4", "\u0e20\u0e32\u0e29\u0e32"),
    *("\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u05e2\u05d1\u05e8\u05d9\u05ea", "x\u2028y\u0085z", "\ufeffbom"),
    *(
        "\U0001f642 \U0001f469\u200d\U0001f467 \U0001f1eb\U0001f1f7",
        "\u201cquotes\u201d \u2018single\u2019",
        "\ufffd\ufffd",
    ),
    *(
        "<start_of_text> <end_of_text>",
        "</s> <s> <pad> <unk>",
        "[CLS] [SEP] [PAD] [MASK]",
        "\u2581under \u2581",
        "\x01",
    ),
)
BLOCKS = (  # of Unicode: Latin, Cyrillic, Hebrew and Arabic, Devanagari, punctuation, kana, Han, Hangul, pictures
    *((32, 126), (160, 591), (1024, 1279), (1424, 1791), (2304, 2431), (8192, 8303), (12353, 12543)),
    *((19968, 20400), (44032, 44400), (0x1F300, 0x1F6FF)),
)
LENGTHS = (1, 3, 12, 60)


def odd_texts(count: int = 200, seed: int = 0) -> list[str]:
    """The fixed ones, then random letters of many scripts."""
    draw, texts = random.Random(seed), list(FIXED)
    while len(texts) < count:
        low, high = draw.choice(BLOCKS)
        letters = "".join(
            chr(32 if draw.random() < 0.2 else draw.randint(low, high)) for _ in range(draw.choice(LENGTHS))
        )
        texts.append(letters if draw.random() < 0.7 else f"a photo of {letters}.")
    return texts[:count]
