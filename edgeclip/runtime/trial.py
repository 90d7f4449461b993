"""Try a graph in a process of its own: an artefact that crashes the runtime is a finding, not the end.

Run as ``python -m edgeclip.runtime.trial GRAPH SETTINGS PIXELS OUT``: SETTINGS is JSON, PIXELS and OUT are safetensors
files.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save, save_file

from ..base.errors import EdgeclipError
from ..base.files import write_bytes
from ..base.scratch import scratch_folder
from .engines.registry import find_engine

BATCHES = (1, 2, 5)  # the sizes of the first batches: a graph must take any
ROWS = 16  # of each batch after them
HUNG_SECONDS = 3600.0  # TensorRT builds an engine first


@dataclass(frozen=True)
class Trial:
    """What a graph gave: embeddings float32 ``[N, D]``, or the problem that it had."""

    embeds: NDArray[np.float32]
    problem: str | None = None


def try_graph(graph: Path, pixels: NDArray[np.float32], *, engine: str | None = None, **settings: Any) -> Trial:
    """Run ``graph`` on ``pixels`` (float32 ``[N, 3, S, S]``) in a new process, at several batch sizes.

    ``settings``: see :meth:`edgeclip.runtime.engines.protocol.Engine.open`.
    """
    with scratch_folder() as folder:
        before, after = Path(folder) / "pixels.safetensors", Path(folder) / "embeds.safetensors"
        write_bytes(before, save({"pixels": np.ascontiguousarray(pixels)}))
        arguments = [str(graph), json.dumps({"engine": engine, **settings}), str(before), str(after)]
        command = [sys.executable, "-m", "edgeclip.runtime.trial", *arguments]
        nothing = np.empty((0, 0), np.float32)
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=HUNG_SECONDS)
        except subprocess.TimeoutExpired:
            return Trial(nothing, f"the runtime hung: no end in {HUNG_SECONDS / 60:.0f} minutes")
        if done.returncode < 0:
            return Trial(nothing, f"the runtime crashed (signal {-done.returncode})")
        if done.returncode:
            return Trial(nothing, (done.stderr.strip().splitlines() or ["no reason given"])[-1])
        embeds = load_file(after)["embeds"]
    return Trial(embeds, None if np.isfinite(embeds).all() else "its embeddings hold NaN or infinity")


def main(arguments: list[str]) -> None:
    """Open, run, write the embeddings."""
    graph, settings, before, after = arguments
    options = json.loads(settings)
    try:
        session = find_engine(options.pop("engine")).open(Path(graph), **options)
    except EdgeclipError as error:
        raise SystemExit(str(error)) from None
    waiting, embeds = load_file(before)["pixels"], []
    sizes = [*BATCHES]
    while len(waiting):
        size = sizes.pop(0) if sizes else ROWS
        embeds.append(session.run(waiting[:size]))
        waiting = waiting[size:]
    save_file({"embeds": np.concatenate(embeds)}, after)


if __name__ == "__main__":
    main(sys.argv[1:])
