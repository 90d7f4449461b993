"""Sentences without images: read from a file, or made from class names for a student that serves one task."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..base.console import say
from ..base.errors import EdgeclipError, require
from ..base.lines import read_lines
from ..base.strings import StringsOnDisk, digest
from ..base.visible import some_of


def _zstandard(path: Path, mode: str, *, encoding: str, newline: str) -> IO[Any]:
    """As the standard library's openers; ``mode`` is to read text."""
    arrow: Any = require("pyarrow", "parquet")
    return io.TextIOWrapper(arrow.input_stream(str(path), compression="zstd"), encoding=encoding, newline=newline)


OPENERS: dict[str, Callable[..., IO[Any]]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": _zstandard,
}
SOME = 100_000
FEWEST = 16  # images, and sentences
LONGEST = 1 << 20  # characters of a line
SHOWN = 5
TEXT = "text"
LIKELY = ("text", "texts", "caption", "captions", "sentence", "sentences", "title", "alt_text", "prompt")
OPENAI = "openai"
PARQUET = ".parquet"
KINDS = (".txt", ".jsonl", PARQUET)
# The seven prompts that CLIP's authors found to do nearly as well as their eighty (notebooks/Prompt_Engineering_for_
# ImageNet.ipynb in openai/CLIP).
PROMPTS = (
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)


def read_sentences(path: Path, *, tell: bool = True) -> Iterator[str]:
    """The sentences of a file, one after another, blanks around them gone.

    ``.txt`` holds one a line (which ends at a line feed alone), ``.jsonl`` objects with "text", each also as ``.gz``,
    ``.bz2``, ``.xz`` or ``.zst``; ``.parquet`` a column "text". Rows without a text are skipped, and told, unless
    ``tell`` is False.

    Raises:
        EdgeclipError: the file is missing, empty, damaged or of another kind, or a line of it is not as it should be.
        MissingExtra: a Parquet file, and no pyarrow to read it.
    """
    packed = path.suffix in OPENERS
    kind = Path(path.stem).suffix if packed else path.suffix
    if kind not in KINDS or (packed and kind == PARQUET):
        known = f"{', '.join(KINDS)}, and packed {', '.join(OPENERS)}"
        raise EdgeclipError(f"{path}: a file of sentences ends in {known}")
    if path.exists() and not path.is_file():  # a pipe would be waited for, for ever
        raise EdgeclipError(f"{path}: no plain file")
    empty, without = True, _Without(path)
    try:
        for line in _column(path, without) if kind == PARQUET else _lines(path, kind, without):
            if sentence := line.strip():
                empty = False
                yield sentence
    except FileNotFoundError:
        raise EdgeclipError(f"{path}: no such file of sentences") from None
    except (OSError, EOFError, UnicodeDecodeError, lzma.LZMAError, zlib.error) as error:
        raise EdgeclipError(f"{path}: cannot be read as UTF-8 text ({error})") from error
    if empty:
        raise EdgeclipError(f"{path}: no sentences in it")
    if tell:
        without.say()


class _Without:
    """Rows that have no text, as captions of the web often have none: counted, and some of them named."""

    def __init__(self, path: Path) -> None:
        self._path, self._count, self._rows = path, 0, list[str]()

    def note(self, where: str) -> None:
        """One more."""
        self._count += 1
        if len(self._rows) <= SHOWN:
            self._rows.append(where)

    def say(self) -> None:
        """Tell, where there are any."""
        if self._count:
            say(f"{self._path.name}: {self._count:,} without a text skipped: {some_of(self._rows, SHOWN)}")


def refuse_unfit(path: Path, *, classes: bool = False) -> None:
    """Find out early what :func:`read_sentences` would refuse, as far as a second goes, and sentences that are too few.

    Args:
        path: the file.
        classes: it holds class names, any number of which make sentences.

    Raises:
        EdgeclipError: see there.
    """
    few = set[str]()
    for sentence in islice(read_sentences(path, tell=False), SOME):
        if len(few) < FEWEST:
            few.add(sentence)
    if not classes:
        refuse_too_few("sentences", len(few))


def refuse_too_few(what: str, count: int) -> None:
    """Refuse fewer images or sentences than a training can learn from.

    Raises:
        EdgeclipError: there are fewer than ``FEWEST``.
    """
    if count < FEWEST:
        raise EdgeclipError(f"too few {what}: {count}, and training needs at least {FEWEST}")


def class_sentences(path: Path, templates: Sequence[str] = PROMPTS) -> Iterator[str]:
    """Every class name of a file (one a line, or as sentences are) in every template.

    Raises:
        EdgeclipError: as :func:`read_sentences`.
    """
    return (template.replace("{}", name) for name in read_sentences(path) for template in templates)


def read_templates(given: str | None) -> Sequence[str]:
    """CLIP's seven where None, its eighty for ``openai``, else the lines of a file, ``{}`` in the class's place.

    Raises:
        EdgeclipError: there is no such file, or a line of it has no ``{}``.
    """
    if given is None:
        return PROMPTS
    if given == OPENAI:
        from open_clip import OPENAI_IMAGENET_TEMPLATES

        return [template("{}") for template in OPENAI_IMAGENET_TEMPLATES]
    lines = read_lines(Path(given))
    if without := next((line for line in lines if "{}" not in line), None):
        raise EdgeclipError(f"{given}: no {{}} in the template {without!r}: it says where the class's name goes")
    if not lines:
        raise EdgeclipError(f"{given}: no templates in it")
    return lines


def kept_sentences(path: Path, folder: Path, templates: Sequence[str] | None = None) -> StringsOnDisk:
    """The distinct sentences of a file; ``templates``: of the class names in it.

    They are kept in ``folder`` until the file changes: tens of millions take a minute to read.

    Raises:
        EdgeclipError: as :func:`read_sentences`.
    """
    sentences = read_sentences(path) if templates is None else class_sentences(path, templates)
    try:
        state = path.stat()
    except OSError:
        next(sentences)  # tells what is wrong
        raise
    identity = [str(path.absolute()), str(state.st_size), str(state.st_mtime_ns), *(templates or ())]
    file = folder / f"{digest(identity)[:24]}.bin"
    index = file.with_suffix(".npz")
    kept = StringsOnDisk.kept(file, index)
    if kept is None:
        kept = distinct(sentences, file)
        kept.keep(index)
    return kept


def distinct(sentences: Iterable[str], file: Path) -> StringsOnDisk:
    """Write ``sentences`` to ``file``, and keep each of them once, in their order.

    Which are equal is told by a 64-bit hash: of 28 million, all different, one is lost with a chance of 2 in 100,000.
    """
    hashes = array("Q")

    def hashed() -> Iterator[bytes]:
        for sentence in sentences:
            text = sentence.encode("utf-8")
            hashes.append(int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little"))
            yield text

    every = StringsOnDisk.write(file, hashed())
    _, first = np.unique(np.frombuffer(hashes, np.uint64), return_index=True)
    return every.only(np.sort(first))


def _lines(path: Path, kind: str, without: _Without) -> Iterator[str]:
    with OPENERS.get(path.suffix, open)(path, "rt", encoding="utf-8-sig", newline="\n") as file:
        for number, line in enumerate(iter(lambda: file.readline(LONGEST + 1), ""), 1):
            if len(line) > LONGEST:
                raise EdgeclipError(
                    f"{path}:{number}: a line of over {LONGEST:,} characters: is it one sentence a line?"
                )
            if kind == ".jsonl" and line.strip():
                text = _text_of(line, f"{path}:{number}")
                if text is None:
                    without.note(f"line {number}")
                    continue
                line = text
            yield line


def _column(path: Path, without: _Without) -> Iterator[str]:
    parquet = require("pyarrow.parquet", "parquet")
    arrow = require("pyarrow", "parquet")
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if TEXT not in names:
                raise EdgeclipError(_other_columns(path, names))
            row = 0
            for batch in file.iter_batches(columns=[TEXT]):
                for text in batch.column(0).to_pylist():
                    row += 1
                    if text is None:
                        without.note(f"row {row}")
                    else:
                        yield _string(text, f"{path}: row {row}")
    except (arrow.ArrowException, KeyError, IndexError) as error:
        raise EdgeclipError(f'{path}: not a Parquet file with a column "text" ({error})') from error


def _text_of(line: str, where: str) -> str | None:
    try:
        entry = json.loads(line)
        if isinstance(entry, dict) and TEXT not in entry:
            raise EdgeclipError(_other_columns(where, list(entry)))
        text = entry[TEXT]
        str(text).encode("utf-8")  # half a surrogate pair is no character
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise EdgeclipError(f'{where}: not a JSON object with "text"') from error
    return None if text is None else _string(text, where)


def _other_columns(where: Path | str, names: Sequence[str]) -> str:
    """What to do where the sentences are called otherwise."""
    likely = next((name for name in names if name.lower() in LIKELY), None)
    there = f"it has {some_of(names)}" if names else "it has none"
    return f'{where}: no "text" there; {there}' + (f': rename "{likely}" to "text"' if likely else "")


def _string(text: object, where: str) -> str:
    if not isinstance(text, str):
        raise EdgeclipError(f'{where}: its "text" is not a string but {json.dumps(text, default=str)[:40]}')
    return text
