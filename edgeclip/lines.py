"""Lines of text files: they end at a line feed and nowhere else; U+2028 and U+0085 are characters like others."""

from __future__ import annotations

from pathlib import Path

from .errors import FormatError


def read_lines(file: Path) -> list[str]:
    """The lines of a UTF-8 text file that hold something, without their ends; a byte-order mark is none of them.

    Raises:
        FormatError: it cannot be read as UTF-8 text.
    """
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{file}: cannot be read as UTF-8 text ({error})") from error
    return [line.removesuffix("\r") for line in text.split("\n") if line.strip()]
