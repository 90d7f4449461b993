"""``metrics.jsonl``: a row appended as it comes, and cut back to the checkpoint's step when a run is gone on with."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from ..base.files import mendable, write_bytes

EVERY = 10.0  # seconds between two writes


class Metrics:
    """The file, and the rows that are not in it yet."""

    def __init__(self, file: Path) -> None:
        self._file, self._rows, self._written = file, list[dict[str, Any]](), time.monotonic()

    def append(self, row: dict[str, Any]) -> None:
        """Add a row; its ``step`` is the number of the step that it is of."""
        self._rows.append(row)
        if time.monotonic() - self._written >= EVERY:
            self.flush()

    def flush(self) -> None:
        """Write what is not in the file yet."""
        lines = "".join(json.dumps(row) + "\n" for row in self._rows)
        with mendable(self._file), self._file.open("a", encoding="utf-8") as file:
            file.write(lines)
        self._rows, self._written = [], time.monotonic()

    def cut(self, step: int) -> None:
        """Drop the rows from ``step`` on, and what a kill left of a line: they will be written again."""
        kept = []
        with mendable(self._file):
            for line in self._file.read_bytes().split(b"\n") if self._file.is_file() else []:
                try:
                    if json.loads(line)["step"] < step:
                        kept.append(line + b"\n")
                except (ValueError, KeyError, TypeError):
                    continue
        write_bytes(self._file, b"".join(kept))
