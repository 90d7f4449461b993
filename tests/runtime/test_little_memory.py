"""Too little memory is one line: a session's, numpy's, and that of whatever else a command asks for."""

import subprocess
import sys

import pytest

from ..test_cli import run

STARVED = """
import resource, sys
from pathlib import Path
import numpy as np
from edgeclip.base.errors import EdgeclipError
from edgeclip.runtime.engines.ort import Onnxruntime

session = Onnxruntime().open(Path(sys.argv[1]), threads=1)
rows = np.zeros((4096, 3, 32, 32), np.float32)
session.run(rows[:1])
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (8 << 20), used + (8 << 20)))
try:
    session.run(rows)
except EdgeclipError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_onnxruntimes_own_words_become_a_line(bundle):
    command = [sys.executable, "-c", STARVED, str(bundle.path / "image.fp32.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "a batch of 4096: onnxruntime gets too little memory for it: end other programs", done


def test_a_command_that_gets_none_says_so(monkeypatch):
    def greedy(*_):
        raise MemoryError("Unable to allocate 7.28 TiB")

    monkeypatch.setattr("edgeclip.api.device.list_profiles", greedy)
    told = run("profiles", expect=2).stderr
    assert told.startswith("edgeclip: too little memory for this (Unable to allocate 7.28 TiB): end other programs")
    assert told.count("\n") == 1
