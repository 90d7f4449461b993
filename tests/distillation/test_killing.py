"""A training that is killed at random a dozen times and gone on with ends as one that was not."""

import subprocess
import sys
from pathlib import Path

import pytest

KILLING = Path(__file__).parents[2] / "benchmarks/killing.py"


@pytest.mark.slow
@pytest.mark.parametrize(("tower", "epochs"), [("vit", 60), ("batch-norm", 30)])
def test_a_dozen_kills_change_not_one_byte(tower, epochs):
    words = [sys.executable, str(KILLING), "--kills", "12", "--tower", tower, "--epochs", str(epochs)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{tower}: 12 cuts" in done.stdout
    assert done.stdout.rstrip().endswith("weights equal")
