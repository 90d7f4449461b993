"""Work is never lost: a result is written before it is shown, and beside its place where that takes it no more."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from edgeclip.api import proof
from edgeclip.base.documents import read_document
from edgeclip.cli import main
from edgeclip.measurement.schema import Figures

from .test_cli import run


@pytest.fixture(scope="module")
def figures(bundle, labelled_dir):
    from edgeclip.measurement import measure
    from edgeclip.measurement.config import MeasureConfig

    return measure(bundle.path, labelled_dir, config=MeasureConfig(seconds=0.1, precisions=("fp32",)))


SHELLS = {
    "a pipe that nobody reads": "{} | true",
    "a pipe that is read a little": "{} | head -c 5",
    "closed": "{} >&-",
    "full": "{} > /dev/full",
}


@pytest.mark.parametrize("name", SHELLS)
def test_what_was_measured_is_kept_whatever_becomes_of_stdout(name, bundle, tmp_path):
    words = f"{sys.executable} -m edgeclip measure {bundle.path} --seconds 1 --precision fp32 --json --out"
    line = SHELLS[name].format(f"{words} {tmp_path}/f.json")
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=300, check=False)
    assert read_document(tmp_path / "f.json", Figures).rows, done.stderr
    assert "Traceback" not in done.stderr


def measuring(monkeypatch, figures, meanwhile):
    """``edgeclip measure`` that takes no time, while something happens."""

    def measured(*bundle, **settings):
        meanwhile()
        return figures

    monkeypatch.setattr(proof, "measure", measured)
    monkeypatch.setattr("edgeclip.api.measure", measured, raising=False)


def test_what_somebody_put_there_meanwhile_stays(monkeypatch, figures, bundle, tmp_path):
    out = tmp_path / "f.json"
    measuring(monkeypatch, figures, lambda: out.write_text("mine"))
    result = CliRunner().invoke(main, ["measure", str(bundle.path), "--out", str(out)])
    assert result.exit_code == 2 and out.read_text() == "mine"
    (other,) = [file for file in tmp_path.iterdir() if file != out]
    assert f"edgeclip did not write it: choose another name; the result is in {other}" in result.stderr
    assert read_document(other, Figures) == figures


def test_a_folder_that_went_is_made_again_and_one_that_became_a_file_is_not(monkeypatch, figures, bundle, tmp_path):
    out = tmp_path / "deep/f.json"
    measuring(monkeypatch, figures, lambda: (tmp_path / "deep").write_text("a file now"))
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["measure", str(bundle.path), "--out", str(out)])
    assert result.exit_code == 2 and result.stderr.count("\n") == 1
    (kept,) = tmp_path.glob("f-*.json")
    assert str(kept) in result.stderr and read_document(kept, Figures) == figures


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["measure", "{bundle}", "--out", "x" * 300], "a name of 300 characters is too long"),
        (
            ["select", "--profile", "x86-avx2-2core", "--latency-ms", 9, "--out", "s", "--plot", "s"],
            "--out and --plot are both",
        ),
        (["export", "{bundle}", "--out", "h", "--huggingface", "h"], "--out and --huggingface are both h"),
    ],
)
def test_what_could_not_be_written_is_refused_at_once(words, told, bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert told in run(*[str(word).format(bundle=bundle.path) for word in words], expect=2).stderr
    assert list(tmp_path.iterdir()) == []
