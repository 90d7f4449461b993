"""What our runtime adds to onnxruntime and Pillow: time per image in ``encode_image``, memory of ``edgeclip classify``.

    python benchmarks/runtime_overhead.py BUNDLE

Time: a JPEG of 640 x 480 decoded and given to ``encode_image``, in turns with Pillow's decoding and resizing and a bare
``session.run`` on ready pixels. Memory: the largest resident size that ``edgeclip classify`` reached, and that a
process with numpy and one session of the same graph reached.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from results import save

from edgeclip.runtime.bundle import Bundle
from edgeclip.runtime.timing import interleaved
from edgeclip.runtime.worker import _photo

SECONDS = 15.0
BARE = """
import sys, numpy, onnxruntime
# As our sessions do: the NCHWc pass takes a process with an fp16 ViT down.
disabled = ["NchwcTransformer"] if sys.argv[3] == "fp16" else None
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"], disabled_optimizers=disabled)
size = int(sys.argv[2])
session.run(None, {session.get_inputs()[0].name: numpy.zeros((1, 3, size, size), numpy.float32)})
"""
CLASSIFY = "import sys; from edgeclip.cli import main; main(sys.argv[1:], standalone_mode=False)"
PEAK = "\nimport re; sys.stderr.write('peak ' + re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"


def time_ratios(bundle: Bundle, precision: str) -> dict[str, float]:
    """What a photo takes from its file to its embedding, ms, ours and bare, call by call in turns on one thread.

    The lower quartile is given beside the median: on a machine that others use, it is nearer to what the work costs.
    """
    encoder = bundle.encoder(precision, threads=1)
    content, size = _photo(), encoder.image_size
    with Image.open(io.BytesIO(content)) as photo:
        shape = (int(size * max(photo.size) / min(photo.size)), size)
        pixels = encoder.preprocess([photo])
    session = encoder.image_session

    def bare() -> None:
        image = Image.open(io.BytesIO(content))
        image.load()
        image.resize(shape, Image.Resampling.BICUBIC)
        session.run(pixels)

    def ours() -> None:
        image = Image.open(io.BytesIO(content))
        image.load()
        encoder.encode_image([image])

    found = interleaved({"bare": bare, "ours": ours}, seconds=SECONDS, burst=1)
    told = {f"{what}_p50_ms": samples.p50 for what, samples in found.items()}
    told |= {f"{what}_p25_ms": samples.percentile(25) for what, samples in found.items()}
    ratio = {f"ratio_p{q}": found["ours"].percentile(q) / found["bare"].percentile(q) for q in (25, 50)}
    return told | ratio | {"samples": len(found["ours"].ms)}


def peak_mb(code: str, *words: str) -> float:
    """Peak resident memory of a Python process that runs ``code``, MB."""
    done = subprocess.run([sys.executable, "-c", code + PEAK, *words], capture_output=True, text=True, check=True)
    found = re.search(r"peak (\d+)", done.stderr)
    assert found is not None, done.stderr
    return int(found[1]) * 1024 / 1e6


def memory(bundle: Bundle, precision: str) -> dict[str, float]:
    """Peak of ``edgeclip classify`` with two labels, and of a bare session of the same image tower."""
    variant = bundle.manifest.variant(precision)
    assert variant is not None
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "photo.jpg").write_bytes(_photo())
        words = ["classify", str(bundle.path), f"{folder}/photo.jpg", "--labels", "a cat,a dog"]
        ours = [peak_mb(CLASSIFY, *words, "--precision", precision) for _ in range(3)]
    graph = str(bundle.path / variant.file)
    bare = [peak_mb(BARE, graph, str(bundle.manifest.preprocess.size), precision) for _ in range(3)]
    classify, session = float(np.median(ours)), float(np.median(bare))
    return {"classify_mb": classify, "bare_session_mb": session, "more_mb": classify - session}


def main() -> None:
    """Measure every variant of the bundle that is named."""
    bundle = Bundle.open(Path(sys.argv[1]))
    found = {}
    for variant in bundle.manifest.variants:
        precision = variant.precision
        found[precision] = {"time": time_ratios(bundle, precision), "memory": memory(bundle, precision)}
        print(precision, found[precision])
    save("runtime_overhead", {"bundle": bundle.manifest.name, "image": "JPEG, 640 x 480", "variants": found})


if __name__ == "__main__":
    main()
