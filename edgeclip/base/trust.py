"""Which files this user wrote on this machine: only their word is taken where code is named or a path is followed.

Each user has a key, which leaves the machine in no file; what is written here is signed with it (HMAC-SHA-256, RFC
2104). A file from elsewhere cannot be signed so, whatever it says of itself.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from .scratch import neighbour

BYTES = 32


def sign(*words: str) -> str | None:
    """The signature of some words, in their order; None where no key can be kept."""
    key = _key(make=True)
    return _signed(key, words) if key else None


def is_ours(signature: str | None, *words: str) -> bool:
    """Whether this user signed these words on this machine."""
    key = _key(make=False)
    return bool(signature and key and hmac.compare_digest(signature.encode(), _signed(key, words).encode()))


def _signed(key: bytes, words: Sequence[str]) -> str:
    text = "".join(f"{len(word)}:{word}" for word in words)  # ("ab", "c") is not ("a", "bc")
    return hmac.new(key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def _key(*, make: bool) -> bytes | None:
    file = Path(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"), "edgeclip", "key")  # noqa: PTH111
    if not file.is_absolute():
        return None
    with suppress(OSError):  # no home, or one that nothing may be written to
        if make and not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, unfinished = neighbour(file)  # which nobody else may read
            with os.fdopen(handle, "wb") as out:
                out.write(secrets.token_bytes(BYTES))
            if file.exists():  # another process was faster
                unfinished.unlink()
            else:
                unfinished.replace(file)
        key = file.read_bytes()
        return key if len(key) == BYTES else None
    return None
