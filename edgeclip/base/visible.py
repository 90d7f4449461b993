"""Text from elsewhere is shown, not obeyed: class names, names of files, a device's own words.

A terminal obeys escape sequences, and every screen turns text around at marks that nobody sees; what is shown to people
goes through here first. Programs (JSON) get what there is, spelt so that a terminal does not obey it either.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

# Controls, marks and overrides of direction, what takes no room, separators of lines, tags, lone halves of characters.
# Not the joiners and selectors that emoji and some scripts are written with: they turn nothing around.
UNSEEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff\ud800-\udfff"
)
HIDDEN = re.compile(f"[{UNSEEN}]")
SECRETS = re.compile(r"token|secret|passw|signature|credential|api-?key|^key$|^sig$|^auth", re.IGNORECASE)
HUB_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{16,}")
STARS = "***"


def visible(text: str, *, lines: bool = False) -> str:
    """``text`` with all that is not seen spelt out: ``\\x1b``, ``\\u202e``. ``lines``: line ends stay what they are."""
    shown = HIDDEN.sub(_spelt, text)
    return shown if lines else shown.replace("\n", "\\n")


def escape(text: str) -> str:
    """For HTML and SVG: no markup, and nothing that is not seen but ends of lines."""
    return html.escape(visible(text, lines=True))


def json_text(text: str) -> str:
    """A JSON document with all that is not seen as escapes of JSON's own: the same data."""
    return HIDDEN.sub(lambda match: "".join(f"\\u{unit:04x}" for unit in _utf16(match[0])), text)


def _spelt(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _utf16(character: str) -> list[int]:
    code = ord(character)
    return [code] if code < 0x10000 else [0xD800 + ((code - 0x10000) >> 10), 0xDC00 + ((code - 0x10000) & 0x3FF)]


def without_secrets(word: str) -> str:
    """A word of a command line without passwords and tokens: ``https://***@host/x?token=***``."""
    word = HUB_TOKEN.sub(STARS, word)
    option, sign, value = word.partition("=") if word.startswith("--") else ("", "", word)
    try:
        parts = urlsplit(value)
        if not parts.scheme or not parts.netloc:
            return word
        place = parts.netloc
        if parts.password is not None:
            user, host = place.rpartition("@")[0].partition(":")[0], place.rpartition("@")[2]
            place = f"{user}:{STARS}@{host}"
        elif parts.username and parts.scheme.startswith("http"):  # a token alone, as code hosts take it
            place = f"{STARS}@{place.rpartition('@')[2]}"
        pairs = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:  # no address after all
        return word
    query = parts.query
    if any(SECRETS.search(name) for name, _ in pairs):
        query = urlencode([(name, STARS if SECRETS.search(name) else secret) for name, secret in pairs], safe="*/:")
    return f"{option}{sign}{urlunsplit(parts._replace(netloc=place, query=query))}"


def some_of(names: Sequence[str], most: int = 5) -> str:
    """The first few of many names, in words."""
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
