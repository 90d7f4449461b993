"""The single-file runner: made of the package's modules, and alone with three packages."""

import ast
import json
import shutil
import subprocess
import sys

import pytest
from PIL import Image

from edgeclip.base.seal import sealed
from edgeclip.measurement import runnerfile
from edgeclip.measurement.runnerfile import runner_source
from edgeclip.runtime.bundle import Bundle
from edgeclip.runtime.manifest import Manifest
from edgeclip.runtime.plain import FORMAT, MANIFEST_FILE, NEWEST
from edgeclip.runtime.turns import Taken

ALONE = "import sys; sys.modules.update(dict.fromkeys({hidden!r})); sys.argv = sys.argv[1:]; import runpy; "
HIDDEN = ("edgeclip", "torch", "pydantic", "rich", "click", "tokenizers", "ftfy", "safetensors", "tomli_w")


@pytest.fixture
def copied(bundle, tmp_path):
    shutil.copytree(bundle.path, tmp_path / "bundle")
    for file in (tmp_path / "bundle").iterdir():
        file.chmod(0o644)
    return tmp_path / "bundle"


def alone(folder, *words, expect=0):
    """Run the bundle's run.py where importing anything of edgeclip's other packages fails."""
    code = ALONE.format(hidden=HIDDEN) + "runpy.run_path(sys.argv[0], run_name='__main__')"
    command = [sys.executable, "-c", code, str(folder / "run.py"), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == expect, done.stderr
    return done


def test_it_imports_the_standard_library_and_three_packages():
    imported = set()
    for node in ast.walk(ast.parse(runner_source())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(node.module.partition(".")[0])
    where_they_are = {"ftfy", "pillow_heif"}
    assert imported - set(sys.stdlib_module_names) - where_they_are == {"numpy", "PIL", "onnxruntime"}


def test_it_reads_the_format_that_the_package_writes():
    assert (FORMAT, NEWEST, MANIFEST_FILE) == (Manifest.FORMAT, Manifest.VERSION, "bundle.json")


def test_it_classifies_as_the_package_does(bundle, tmp_path):
    Image.new("RGB", (50, 40), "red").save(tmp_path / "red.png")
    told = json.loads(
        alone(bundle.path, "classify", tmp_path / "red.png", "--labels", "red,a blue <b>thing</b>").stdout
    )
    (answer,) = told["images"]
    expected = bundle.classify([Image.open(tmp_path / "red.png")], ["red", "a blue <b>thing</b>"])[0]
    assert dict(answer["labels"]) == pytest.approx(
        dict(zip(["red", "a blue <b>thing</b>"], expected, strict=True)), abs=1e-4
    )


def test_it_verifies(bundle):
    told = json.loads(alone(bundle.path, "verify").stdout)
    assert told["verified"]
    parts = ["tokenizer", "preprocessing", "text tower", *(f"image tower {p}" for p in ("fp32", "fp16", "int8"))]
    assert [found["part"] for found in told["findings"]] == parts
    assert not any("not checked" in found["detail"] for found in told["findings"])


def test_it_measures(bundle):
    told = json.loads(alone(bundle.path, "measure", "--precision", "fp32", "--seconds", "0.1").stdout)
    row = told["rows"]["fp32"]
    assert row["latency"]["p50"] <= row["latency"]["p99"] <= row["latency"]["max"]
    assert Taken(row["samples_ms"]).enough


def test_an_answer_that_is_not_what_was_recorded(copied):
    """A tokenizer with two ids exchanged, and a manifest that vouches for it: only the recorded answers tell."""
    tokenizer = json.loads((copied / "tokenizer.json").read_text())
    vocab = tokenizer["model"]["vocab"]
    vocab["cat</w>"], vocab["dogs</w>"] = vocab["dogs</w>"], vocab["cat</w>"]
    (copied / "tokenizer.json").write_text(json.dumps(tokenizer))
    manifest = json.loads((copied / "bundle.json").read_text())
    from edgeclip.base.files import sha256

    size = (copied / "tokenizer.json").stat().st_size
    manifest["tokenizer"] |= {"sha256": sha256(copied / "tokenizer.json"), "bytes": size}
    (copied / "bundle.json").write_text(json.dumps(sealed(manifest)))
    told = json.loads(alone(copied, "verify", expect=3).stdout)
    wrong = [found for found in told["findings"] if not found["ok"]]
    assert [found["part"] for found in wrong] == ["tokenizer"]
    assert "a photo of a cat" in wrong[0]["detail"]


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda folder: (folder / "bundle.json").unlink(), "is not a bundle"),
        (lambda folder: (folder / "bundle.json").write_text("{"), "not JSON"),
        (lambda folder: (folder / "image.fp32.onnx").unlink(), "is missing"),
        (lambda folder: (folder / "image.fp32.onnx").write_bytes(b"x"), "differs from what was exported"),
        (lambda folder: edit(folder, version=99), "format version 99"),
        (lambda folder: edit(folder, text={"file": "../x", "sha256": "0"}), "would leave"),
        (lambda folder: edit(folder, golden={}), "'file' is missing"),
    ],
)
def test_a_bundle_with_faults_is_one_line_and_exit_2(copied, spoil, complaint):
    spoil(copied)
    done = alone(copied, "verify", expect=2)
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def edit(folder, **changes):
    manifest = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps(sealed(manifest | changes)))


def test_a_runner_that_was_altered_is_found(copied):
    with (copied / "run.py").open("a") as file:
        file.write("# a change\n")
    from edgeclip.base.errors import FormatError

    with pytest.raises(FormatError, match=r"run\.py differs from what was exported"):
        Bundle.open(copied)


@pytest.mark.parametrize(
    ("module", "complaint"),
    [
        ("from .other import thing as alias\n", "cannot import so"),
        ("def f():\n    from .other import thing\n", "within a function"),
        ("from .other import thing\nthing = 1\n", "one file needs two"),
    ],
)
def test_modules_that_do_not_fit_one_file_are_refused(module, complaint, tmp_path, monkeypatch):
    (tmp_path / "measurement").mkdir()
    (tmp_path / "measurement/standalone.py").write_text(module)
    (tmp_path / "measurement/other.py").write_text("thing = 2\n")
    monkeypatch.setattr(runnerfile, "files", lambda package: tmp_path)
    with pytest.raises(ValueError, match=complaint):
        runner_source()
