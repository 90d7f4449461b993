"""A digest over a whole document, in the document: a change that still parses is found when it is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

SEAL = "seal"


def seal_of(document: Mapping[str, Any]) -> str:
    """SHA-256 of all of ``document`` but its seal, whatever the order of its keys and the spaces between them."""
    rest = {name: value for name, value in document.items() if name != SEAL}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":"), default=str).encode()).hexdigest()


def sealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """``document`` with its seal."""
    return {**document, SEAL: seal_of(document)}


def is_whole(document: Mapping[str, Any]) -> bool:
    """Whether ``document`` is what was sealed."""
    return document.get(SEAL) == seal_of(document)
