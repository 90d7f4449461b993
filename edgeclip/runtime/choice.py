"""Which variant to use: the fastest that is faithful, where it is clearly faster than fp32."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

CLEARLY = 1.03  # one must be this much faster to be chosen over another: less is noise
K = TypeVar("K", bound=Hashable)


def fastest(options: Mapping[K, tuple[float, float]]) -> K | None:
    """Of speed and mean cosine: the fastest; of those that are as fast but for noise, the most faithful."""
    top = max((speed for speed, _ in options.values()), default=0.0)
    level = {name: cosine for name, (speed, cosine) in options.items() if speed * CLEARLY >= top}
    return max(level, key=lambda name: level[name], default=None)


def recommend(options: Mapping[K, tuple[float, float]]) -> K | None:
    """Of faithful variants, each with its speed over fp32 and its mean cosine; None where fp32 is to be used."""
    return fastest({name: option for name, option in options.items() if option[0] >= CLEARLY})
