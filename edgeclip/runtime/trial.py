"""Try a graph in a process of its own: an artefact that crashes the runtime is a finding, not the end.

Run as ``python -m edgeclip.runtime.trial GRAPH PRECISION THREADS PIXELS OUT``; PIXELS and OUT are safetensors files.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from ..errors import EdgeclipError
from .session import make_session


def try_graph(graph: Path, precision: str, pixels: NDArray[np.float32], *, threads: int | None = None) -> str | None:
    """Run ``graph`` once on ``pixels`` in a new process. Returns what went wrong, or None."""
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "pixels.safetensors", Path(folder) / "embeds.safetensors"
        save_file({"pixels": np.ascontiguousarray(pixels)}, before)
        arguments = [str(graph), precision, str(threads or 0), str(before), str(after)]
        command = [sys.executable, "-m", "edgeclip.runtime.trial", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode < 0:
            return f"the runtime crashed (signal {-done.returncode})"
        if done.returncode:
            return (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        if not np.isfinite(load_file(after)["embeds"]).all():
            return "its embeddings hold NaN or infinity"
    return None


def main(arguments: list[str]) -> None:
    """Open, run once, write the embeddings."""
    graph, precision, threads, before, after = arguments
    try:
        session = make_session(Path(graph), precision=precision, threads=int(threads) or None)
    except EdgeclipError as error:
        raise SystemExit(str(error)) from None
    pixels = load_file(before)["pixels"]
    save_file({"embeds": session.run(None, {session.get_inputs()[0].name: pixels})[0]}, after)


if __name__ == "__main__":
    main(sys.argv[1:])
