"""Text files: UTF-8, of a bearable size, and lines that end at a line feed alone; U+2028 is a character like others."""

from __future__ import annotations

from pathlib import Path

from .errors import EdgeclipError, FormatError

LARGEST = 1 << 30  # bytes of a file that is held in memory


def read_text(file: Path, largest: int = LARGEST) -> str:
    """A UTF-8 text file without its byte-order mark.

    Raises:
        EdgeclipError: it is missing, or cannot be read.
        FormatError: it is no plain file, is too large, or not UTF-8.
    """
    try:
        if not file.is_file() and file.exists():  # a pipe would be waited for, for ever
            raise FormatError(f"{file}: no plain file")
        with file.open("rb") as opened:
            content = opened.read(largest + 1)
        if len(content) > largest:
            raise FormatError(f"{file}: over {largest / 1e6:.0f} MB: no such file is as large")
        return content.decode("utf-8-sig")
    except FileNotFoundError:
        raise EdgeclipError(f"{file}: no such file") from None
    except UnicodeDecodeError as error:
        raise FormatError(f"{file}: cannot be read as UTF-8 text ({error})") from error
    except OSError as error:
        raise EdgeclipError(f"{file}: cannot be read ({error.strerror})") from error


def read_lines(file: Path) -> list[str]:
    """The lines of a text file that hold something, without their ends.

    Raises:
        EdgeclipError: as :func:`read_text`.
    """
    return [line.removesuffix("\r") for line in read_text(file).split("\n") if line.strip()]
