"""Every mistake is one line that says how to mend it, exit 2, and nothing of the user's has changed.

One row each: what is given, to which command, and a word of what is said. Rows of spoilt files and absurd numbers are
generated: every kind of file x every way to spoil it, every flag that takes a number x every value that is none.
"""

import json
import os
import shutil
import tarfile
from pathlib import Path

import click
import pytest
from PIL import Image

from edgeclip.base.seal import sealed
from edgeclip.chain.project import EXAMPLE
from edgeclip.cli import main
from edgeclip.distillation.config import DistillConfig
from edgeclip.distillation.run import Run, RunDocument
from edgeclip.measurement.schema import Figures
from edgeclip.profiling.store import load_profile
from edgeclip.reporting.schema import Report

from .base.test_documents import documents
from .test_cli import run

DISTILL = "distill --profile raspberry-pi-5 --latency-ms 20 --teacher demo --images images --texts texts.txt --out new"
SPEC = "distill --profile raspberry-pi-5 --teacher demo --images images --texts texts.txt --out new --spec"
REPORT = "report bundle --profile x86-avx2-2core --other-device --dataset testset --out new --figures"
EVAL = "eval bundle --dataset testset"
TABLE = Path(__file__).with_name("mistakes.txt")  # words | what is said, one of those between bars


def rows():
    names = {name: value for name, value in globals().items() if name in ("DISTILL", "REPORT", "EVAL")}
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        words, _, said = line.rpartition(" | ")
        for name, value in names.items():
            words = words.replace(f"{{{name}}}", value)
        yield words.split(), said.strip().split("|")


@pytest.fixture(scope="module")
def world(tmp_path_factory, bundle, images_dir, texts_file, spec, teacher_dir):
    """A folder of a user's with all kinds of files, good and bad."""
    folder = tmp_path_factory.mktemp("world")
    shutil.copytree(bundle.path, folder / "bundle")
    for file in (folder / "bundle").iterdir():
        file.chmod(0o644)
    shutil.copytree(images_dir, folder / "images")
    shutil.copy(texts_file, folder / "texts.txt")
    for name in ("empty", "good", "bad", "run", "unfinished"):
        (folder / name).mkdir()
    for color in ("red", "green", "blue"):
        (folder / "testset" / color).mkdir(parents=True)
        Image.new("RGB", (40, 40), color).save(folder / "testset" / color / "1.png")
    _runs(folder, spec, teacher_dir)
    DistillConfig(epochs=2).save(folder / "good/config.toml")
    spec.save(folder / "good/spec.json")
    load_profile("x86-avx2-2core").save(folder / "good/profile.toml")
    (folder / "good/project.toml").write_text(EXAMPLE.replace('"images"', '"nothing"'))
    for document in documents():
        if isinstance(document, Figures | Report):
            document.save(folder / f"good/{type(document).__name__.lower()}.json")
    _bad(folder / "bad", folder)
    return folder


def _runs(folder, spec, teacher_dir):
    facts = {"teacher": "t", "teacher_fingerprint": "0" * 64, "images": "images", "texts": "texts.txt"}
    document = RunDocument(**facts, spec=spec, config=DistillConfig())
    Run(folder / "unfinished", document).save()
    shutil.copytree(teacher_dir, folder / "run/student")
    Run(folder / "run", document.model_copy(update={"status": "finished", "images": str(folder / "images")})).save()


def _bad(bad, folder):
    (bad / "empty.txt").write_text("\n \n")
    (bad / "latin1.txt").write_bytes("café\n".encode("latin-1"))
    (bad / "null.jsonl").write_text('{"text": null}\n')
    (bad / "ground.toml").write_text('ground = "#fff"\n')
    (bad / "few.txt").write_text("a cat\na dog\na cat\n")
    (bad / "number.jsonl").write_text('{"text": 7}\n')
    (bad / "list.jsonl").write_text('{"text": ["a"]}\n')
    (bad / "broken.jsonl").write_text('{"text": \n')
    (bad / "cut.txt.gz").write_bytes(b"\x1f\x8b\x08\x00")
    (bad / "table.csv").write_text("text\na cat\n")
    (bad / "cut.zip").write_bytes(b"PK\x03\x04")
    with tarfile.open(bad / "escape.tar", "w") as tar:
        tar.add(folder / "texts.txt", "../../bundle.json")
    Image.new("1", (60_000, 60_000)).save(bad / "bomb.png")
    (bad / "cut.png").write_bytes((folder / "images/00.png").read_bytes()[:-200])
    os.mkfifo(bad / "pipe.png")


def snapshot(folder):
    """Every path, with the content of plain files."""
    return {one: one.read_bytes() if one.is_file() else None for one in folder.rglob("*")}


def refused(words, world, said):
    """Run a command in the user's folder: exit 2, one line that says one of some words, and nothing has changed."""
    before = snapshot(world)
    try:
        result = run(*words, expect=None)
        after = snapshot(world)
    finally:
        for new in world.glob("new*"):  # one fault is enough: the next row has another
            shutil.rmtree(new) if new.is_dir() else new.unlink()
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("edgeclip: "), result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    assert any(word in result.stderr for word in said), result.stderr
    assert result.stdout == ""
    assert len(result.stderr) < 600, "that is no line"
    assert after == before


@pytest.mark.parametrize(("words", "said"), list(rows()), ids=lambda value: " ".join(value)[:90])
def test_a_mistake(words, said, world, monkeypatch):
    monkeypatch.chdir(world)
    refused(words, world, said)


READ_BY = {
    "good/profile.toml": "profiles good/profile.toml",
    "good/spec.json": f"{SPEC} good/spec.json",
    "good/config.toml": f"{DISTILL} --config good/config.toml",
    "good/figures.json": f"{REPORT} good/figures.json",
    "good/report.json": "compare good/report.json good/report.json",
    "good/project.toml": "run good",
    "run/run.json": "export run --out new",
    "unfinished/run.json": "distill --resume unfinished",
    "bundle/bundle.json": "classify bundle images/00.png --labels a,b",
}
HASHED = ("image.fp32.onnx", "image.int8.onnx", "text.fp32.onnx", "tokenizer.json", "golden.safetensors", "run.py")
CUTS = {"nothing": 0.0, "a tenth": 0.1, "half": 0.5, "nine tenths": 0.9}
WAYS = {
    **{f"{name} left": lambda text, part=part: text[: int(part * len(text))] for name, part in CUTS.items()},
    "no text": lambda text: text[: len(text) // 2] + b"\xff\xfe" + text[len(text) // 2 :],
    "a zero byte": lambda text: b"\0" + text,
    "another kind": lambda text: text.replace(b"edgeclip-", b"somebody-", 1).replace(b"teacher =", b"teacher =\n", 1),
    "another's": lambda text: b"[1, 2]",
    "much too deep": lambda text: b"a = " + b"[" * 3000 + b"]" * 3000,
    "newer": lambda text: text.replace(b'"version": ', b'"version": 9').replace(b"version = ", b"version = 9"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", READ_BY)
def test_a_spoilt_file(name, way, world, monkeypatch):
    monkeypatch.chdir(world)
    whole = (world / name).read_bytes()
    spoilt = WAYS[way](whole)
    if spoilt == whole or (name.endswith(("spec.json", "config.toml", "project.toml")) and way == "nothing left"):
        pytest.skip("by hand it needs neither kind nor version, and has defaults")
    (world / name).write_bytes(spoilt)
    try:
        refused(READ_BY[name].split(), world, [name.split("/")[0]])
    finally:
        (world / name).write_bytes(whole)


@pytest.mark.parametrize("place", ["first", "middle", "last"])
@pytest.mark.parametrize("name", HASHED)
def test_a_flipped_bit_of_what_is_hashed(name, place, world, monkeypatch):
    monkeypatch.chdir(world)
    file = world / "bundle" / name
    whole = file.read_bytes()
    spoilt = bytearray(whole)
    spoilt[{"first": 0, "middle": len(whole) // 2, "last": -1}[place]] ^= 1
    file.write_bytes(spoilt)
    try:
        refused(["verify", "bundle"], world, [f"{name} differs from what was exported"])
    finally:
        file.write_bytes(whole)


def numbers():
    """Every flag that takes a number, of every command."""
    for name, command in main.commands.items():
        for parameter in getattr(command, "params", ()):
            if isinstance(parameter, click.Option) and isinstance(
                parameter.type, click.types.FloatParamType | click.types.IntParamType
            ):
                yield name, parameter.opts[0]


NEEDED = {
    "distill": DISTILL.split()[1:],
    "select": ["--profile", "raspberry-pi-5", "--no-budget"],
    "profile": ["mine", "--out", "new.toml"],
    "report": ["bundle", "--profile", "x86-avx2-2core", "--other-device", "--dataset", "testset", "--out", "new"],
    "measure": ["bundle"],
    "verify": ["bundle"],
    "classify": ["bundle", "images/00.png", "--labels", "a,b"],
    "compare": ["good/report.json", "good/report.json"],
    "eval": ["bundle", "--dataset", "testset"],
    "export": ["run", "--out", "new"],
}


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "1e30", "x", ""])
@pytest.mark.parametrize(("command", "flag"), list(numbers()), ids=lambda value: value)
def test_a_number_that_is_none(command, flag, value, world, monkeypatch):
    monkeypatch.chdir(world)
    refused([command, *NEEDED[command], f"{flag}={value}"], world, [flag])


def test_there_are_many_rows():
    generated = len(READ_BY) * len(WAYS) + 3 * len(HASHED) + 6 * len(list(numbers()))
    assert len(list(rows())) + generated > 300


def test_the_world_is_good(world, monkeypatch):
    """What is refused above is refused for what is wrong with it: all else is as it should be."""
    monkeypatch.chdir(world)
    assert json.loads(run("verify", "bundle", "--json").stdout)["verified"]
    assert run("profiles", "good/profile.toml").stdout
    assert run("compare", "good/report.json", "good/report.json").stdout
    assert run("classify", "bundle", "images/00.png", "--labels", "a,b").stdout


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda own: own["preprocess"].update(size=48), "48"),
        (lambda own: own.update(embed_dim=100), "100"),
        (lambda own: own["tokenizer"].update(context_length=20), "20"),
        (lambda own: own["tokenizer"].update(pad_id=10**6), "1000000"),
        (lambda own: own["target"]["runtime"].update(name="tflite"), "tflite"),
    ],
    ids=["size", "width", "context", "padding", "engine"],
)
def test_a_manifest_that_does_not_fit_its_graphs(edit, said, world, monkeypatch):
    monkeypatch.chdir(world)
    whole = (world / "bundle/bundle.json").read_text()
    content = json.loads(whole)
    edit(content)
    (world / "bundle/bundle.json").write_text(json.dumps(sealed(content)))
    try:
        refused(["classify", "bundle", "images/00.png", "--labels", "a,b", "--precision", "fp32"], world, [said])
    finally:
        (world / "bundle/bundle.json").write_text(whole)
