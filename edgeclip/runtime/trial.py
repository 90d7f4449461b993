"""Try a graph in a process of its own: an artefact that crashes the runtime is a finding, not the end.

Run as ``python -m edgeclip.runtime.trial GRAPH PRECISION THREADS AS_WRITTEN PIXELS OUT``; PIXELS and OUT are
safetensors files.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save, save_file

from ..errors import EdgeclipError
from ..files import write_bytes
from .session import make_session

BATCHES = (1, 2, 5)  # the sizes of the first batches: a graph must take any
ROWS = 16  # of each batch after them


@dataclass(frozen=True)
class Trial:
    """What a graph gave: embeddings float32 ``[N, D]``, or the problem that it had."""

    embeds: NDArray[np.float32]
    problem: str | None = None


def try_graph(
    graph: Path, precision: str, pixels: NDArray[np.float32], *, threads: int | None = None, as_written: bool = False
) -> Trial:
    """Run ``graph`` on ``pixels`` (float32 ``[N, 3, S, S]``) in a new process, at several batch sizes.

    ``as_written``: see :func:`~edgeclip.runtime.session.make_session`.
    """
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "pixels.safetensors", Path(folder) / "embeds.safetensors"
        write_bytes(before, save({"pixels": np.ascontiguousarray(pixels)}))
        arguments = [str(graph), precision, str(threads or 0), str(int(as_written)), str(before), str(after)]
        command = [sys.executable, "-m", "edgeclip.runtime.trial", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        nothing = np.empty((0, 0), np.float32)
        if done.returncode < 0:
            return Trial(nothing, f"the runtime crashed (signal {-done.returncode})")
        if done.returncode:
            return Trial(nothing, (done.stderr.strip().splitlines() or ["no reason given"])[-1])
        embeds = load_file(after)["embeds"]
    return Trial(embeds, None if np.isfinite(embeds).all() else "its embeddings hold NaN or infinity")


def main(arguments: list[str]) -> None:
    """Open, run, write the embeddings."""
    graph, precision, threads, as_written, before, after = arguments
    try:
        settings: dict[str, Any] = {"threads": int(threads) or None, "as_written": bool(int(as_written))}
        session = make_session(Path(graph), precision=precision, **settings)
    except EdgeclipError as error:
        raise SystemExit(str(error)) from None
    waiting, found = load_file(before)["pixels"], []
    sizes = [*BATCHES]
    while len(waiting):
        size = sizes.pop(0) if sizes else ROWS
        found.append(session.run(None, {session.get_inputs()[0].name: waiting[:size]})[0])
        waiting = waiting[size:]
    save_file({"embeds": np.concatenate(found)}, after)


if __name__ == "__main__":
    main(sys.argv[1:])
