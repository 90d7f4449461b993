"""What a device installs, and no more: the wheel and its own dependencies in a fresh environment."""

import json
import subprocess
import venv
from pathlib import Path

import pytest
from PIL import Image

from .test_cli import RESTLESS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
NOT_OURS = {"pip", "setuptools", "pkg_resources"}  # of every environment
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def edgeclip(tmp_path_factory):
    """Runs edgeclip in an environment with the base install only."""
    folder = tmp_path_factory.mktemp("base")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv/bin/python"
    subprocess.run([python, "-m", "pip", "install", "-q", ROOT], check=True)
    there = subprocess.run(
        [python, "-m", "pip", "list", "--format", "json"], capture_output=True, text=True, check=True
    )
    names = {package["name"].lower() for package in json.loads(there.stdout)}
    assert not names & {"torch", "onnx", "timm", "transformers", "open-clip-torch", "tokenizers", "huggingface-hub"}
    (packages,) = (folder / "venv").glob("lib/python3*/site-packages")
    own = [one for one in packages.rglob("*") if one.is_file() and one.relative_to(packages).parts[0] not in NOT_OURS]
    assert sum(one.stat().st_size for one in own if one.suffix != ".pyc") <= 200e6

    def run(*words, expect=0, or_says=None):
        """What it prints; None where it fails with the words ``or_says``."""
        command = [python, "-m", "edgeclip", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
        if or_says and or_says in done.stderr:
            return None
        assert done.returncode == expect, done.stderr
        return done.stdout

    return run


def test_a_device_needs_nothing_else(edgeclip, bundle, tmp_path):
    for color in ("red", "green"):
        (tmp_path / "dataset" / color).mkdir(parents=True)
        Image.new("RGB", (40, 40), color).save(tmp_path / "dataset" / color / "1.png")
    profile = tmp_path / "here.toml"
    if edgeclip("profile", "here", "--out", profile, "--seconds", 10, or_says=RESTLESS) is None:
        profile = "x86-avx2-2core"
    assert json.loads(edgeclip("verify", bundle.path, "--json"))["verified"]
    image = tmp_path / "dataset/red/1.png"
    answers = json.loads(edgeclip("classify", bundle.path, image, "--labels", "red,green", "--json"))
    assert {label for label, _ in answers[0]["labels"]} == {"red", "green"}
    words = ["--dataset", tmp_path / "dataset", "--out", tmp_path / "figures.json"]
    found = json.loads(edgeclip("measure", bundle.path, *words, "--seconds", 1, "--json"))
    assert {row["stage"] for row in found["rows"] if row["timing"]} == {
        f"exported {p}" for p in ("fp32", "fp16", "int8")
    }
    assert found["recommended"] in ("fp32", "fp16", "int8")
    words = ["--other-device", "--profile", profile, "--dataset", tmp_path / "dataset", "--out", tmp_path / "report"]
    report = json.loads(
        edgeclip("report", bundle.path, *words, "--seconds", 1, "--latency-ms", 1000, "--json", expect=4)
    )
    opened = {one["kind"] for one in report["criteria"] if "met" not in one}
    assert {"chance"} <= opened <= {"chance", "answers"}, "of so few pictures"
    assert [row["stage"] for row in report["rows"]] == ["exported fp32", "exported fp16", "exported int8"]
    assert (tmp_path / "report/report.html").stat().st_size > 10_000
