"""What the peers share: they run in environments of their own, without edgeclip. Arguments: FOLDER THREADS SECONDS.

FOLDER holds fp32.onnx and int8.onnx (ours) and pixels.safetensors (`calibration`, `judged`, `exam`: float32 [N,3,S,S]).
A peer writes embeds.safetensors (`<contender>.judged`, `<contender>.exam`) there, and milliseconds as JSON to stdout.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
from safetensors.numpy import load_file, save_file

Run = Callable[[np.ndarray], np.ndarray]


def session(path: Path, threads: int) -> Run:
    """An ONNX graph as edgeclip's runtime opens it."""
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")
    opened = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda pixels: opened.run(None, {"pixel_values": pixels})[0]


def main(contenders: Callable[[Path, int, dict[str, np.ndarray]], dict[str, Run]]) -> None:
    """Open ours and the peer's, embed, time in turns."""
    folder, threads, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    pixels = load_file(folder / "pixels.safetensors")
    runs = {"ours fp32": session(folder / "fp32.onnx", threads), "ours int8": session(folder / "int8.onnx", threads)}
    theirs = contenders(folder, threads, pixels)
    runs |= theirs
    embeds = {}
    for name, run in theirs.items():
        for part in ("judged", "exam"):
            if len(pixels[part]):
                rows = [run(pixels[part][i : i + 1]) for i in range(len(pixels[part]))]
                embeds[f"{name}.{part}"] = np.ascontiguousarray(np.concatenate(rows), np.float32)
    save_file(embeds, folder / "embeds.safetensors")
    json.dump(timed(runs, pixels["judged"][:1], seconds), sys.stdout)


def timed(runs: dict[str, Run], one: np.ndarray, seconds: float, burst: int = 5) -> dict[str, float]:
    """p50 of one image in ms, each in short bursts by turns; the first call of a burst is not counted."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline or not min(map(len, found.values())):
        for name, run in runs.items():
            run(one)
            for _ in range(burst):
                begin = time.perf_counter()
                run(one)
                found[name].append(1e3 * (time.perf_counter() - begin))
    return {name: float(np.median(times)) for name, times in found.items()}
