"""Every mistake is one line that says how to mend it, exit 2, and nothing of the user's has changed.

One row each: what is given, to which command, and a word of what is said. Rows of spoilt files and absurd numbers are
generated: every kind of file x every way to spoil it, every flag that takes a number x every value that is none.
"""

import json
import os
import shutil

import click
import pytest
from PIL import Image

from edgeclip.cli import main
from edgeclip.device.store import load_profile
from edgeclip.distill.config import DistillConfig
from edgeclip.distill.run import Run, RunDocument
from edgeclip.project import EXAMPLE
from edgeclip.report.schema import Figures, Report

from .test_cli import run
from .test_documents import documents

DISTILL = "distill --profile raspberry-pi-5 --latency-ms 20 --teacher demo --images images --texts texts.txt --out new"
SPEC = "distill --profile raspberry-pi-5 --teacher demo --images images --texts texts.txt --out new --spec"
REPORT = "report bundle --profile x86-avx2-2core --other-device --dataset testset --out new --figures"
EVAL = "eval bundle --dataset testset"
ROWS = """
profiles absent                             | did you mean|known
profiles absent.toml                        | no such file
profiles images                             | known|did you mean
profile mine --out images                   | folder
profile mine --out texts.txt                | did not write
profile mine --out /proc/mine.toml          | nothing can be written|permission
profile mine/../x --out new.toml            | name
profile mine --out new.toml --engine tflite | there are: onnxruntime
profile mine --out new.toml --family vits   | did you mean|known
profile mine --out new.toml --precision fp16 | no kernels
profile mine --out new.toml --device telnet://x | ssh://
profile mine --out new.toml --seconds 1     | range
select                                      | --profile
select --profile absent                     | absent
select --profile raspberry-pi-5             | --latency-ms
select --profile raspberry-pi-5 --latency-ms 0 | range
select --profile raspberry-pi-5 --latency-ms 0.001 | fastest
select --profile raspberry-pi-5 --latency-ms 9 --precision fp16 | fp32 and int8
select --profile raspberry-pi-5 --latency-ms 9 --precision int4 | fp32
select --profile raspberry-pi-5 --latency-ms 9 --image-size 17 | allow 24
select --profile raspberry-pi-5 --latency-ms 9 --trials 2 | --teacher
select --profile raspberry-pi-5 --latency-ms 9 --out images | folder
select --profile raspberry-pi-5 --latency-ms 9 --out texts.txt | did not write
select --profile raspberry-pi-5 --latency-ms 9 --plot texts.txt | did not write
select --profile raspberry-pi-5 --size-mb 0.0001 | smallest|fits
teachers nobody-of-that-name                | nobody-of-that-name
distill                                     | --profile and --teacher and --images and --out
distill --resume absent                     | no run
distill --resume bundle                     | no run
distill --resume run --lr 3                 | leave out --lr
distill --write-config texts.txt            | did not write
distill --write-config images               | folder
distill --profile raspberry-pi-5 --teacher demo --images images --out new | --texts or --classes
distill --profile raspberry-pi-5 --teacher demo --images images --texts texts.txt --out new | what may the student cost
{DISTILL} --classes texts.txt               | --texts or --classes
{DISTILL} --config absent.toml              | no such file
{DISTILL} --config texts.txt                | not valid
{DISTILL} --config images                   | no plain file|cannot be read
{DISTILL} --spec absent.json                | no such file
{DISTILL} --spec good/config.toml           | edgeclip-student
{DISTILL} --dataset absent                  | absent
{DISTILL} --dataset images                  | class
{DISTILL} --epochs 0                        | --epochs
{DISTILL} --batch-size 1                    | --batch-size
{DISTILL} --lr 0                            | --lr
{DISTILL} --lr nan                          | --lr
{DISTILL} --views 0                         | --views
{DISTILL} --seed -1                         | --seed
{DISTILL} --seed 4294967296                 | --seed
{DISTILL} --mixed-precision fp8             | fp16
{DISTILL} --threads 1000                    | at most
{DISTILL} --out images                      | is no run
{DISTILL} --out texts.txt                   | file
{DISTILL} --out run                         | edgeclip distill --resume run
{DISTILL} --images absent                   | no such folder
{DISTILL} --images texts.txt                | no such folder
{DISTILL} --images absent-{{0..3}}.tar      | no such shard
{DISTILL} --images empty                    | no images in it
{DISTILL} --texts absent.txt                | no such file of sentences
{DISTILL} --texts images                    | ends in .txt
{DISTILL} --texts bad/empty.txt             | no sentences
{DISTILL} --texts bad/latin1.txt            | UTF-8
{DISTILL} --texts bad/null.jsonl            | null.jsonl:2
{DISTILL} --texts bad/number.jsonl          | number.jsonl:1
{DISTILL} --texts bad/list.jsonl            | list.jsonl:1
{DISTILL} --texts bad/broken.jsonl          | broken.jsonl:1
{DISTILL} --texts bad/cut.txt.gz            | cut.txt.gz
{DISTILL} --texts bad/table.csv             | ends in .txt
{DISTILL} --teacher absent-model            | absent-model
{DISTILL} --teacher ViT-B-32:nobody         | did you mean|are known|known:
{DISTILL} --teacher local-dir:images        | open_clip_config.json
{DISTILL} --teacher local-dir:absent        | open_clip_config.json
{DISTILL} --teacher store:images            | store
{DISTILL} --teacher hf-hub:not-a-repo       | not-a-repo
{DISTILL} --teacher nothing.here:make       | can be imported
texts select --images images --corpus texts.txt --teacher demo --out kept.txt | .jsonl
texts select --images images --corpus texts.txt --teacher demo --out bad/list.jsonl | did not write
texts select --images images --corpus texts.txt --teacher demo --out new.jsonl --cap 0 | range
export absent --out new                     | unknown teacher|neither
export runs/absent --out new                | no such run
export images --out new                     | is no run
export run --out images                     | did not put there
export run --out texts.txt                  | file|folder
export unfinished --out new                 | --resume unfinished
export demo --out new                       | --calibration
export demo --out new --calibration absent  | no such folder
export demo --out new --calibration empty   | no images
export run --out new --precision int4       | fp16
export run --out new --recipe avx9          | x86
export run --out new --target-gpu sm86      | --tensorrt
export run --out new --opset 0              | range
export run --out new --opset 3              | opset
export run --out new --no-text-tower        | --labels
export run --out new --profile absent       | absent
export run --out new --labels absent.txt    | no such file
export run --out new --dataset absent       | absent
export run --out bundle                     | --force
verify absent                               | no bundle
verify run                                  | no bundle
verify bad/cut.zip                          | not an archive
verify bad/escape.tar                       | outside
verify bundle --device http://x             | ssh://
verify bundle --device ssh://               | ssh://
measure absent                              | no bundle
measure bundle --out images                 | folder
measure bundle --out texts.txt              | did not write
measure bundle --dataset absent             | absent
measure bundle --dataset images             | class
measure bundle --provider NoSuch            | NoSuch
measure bundle --seconds 0                  | range
report absent --profile x86-avx2-2core --other-device --dataset testset --out new | no bundle
report bundle --profile raspberry-pi-5 --dataset testset --out new | estimated
report bundle --profile x86-avx2-2core --other-device --dataset absent --out new | absent
report bundle --profile x86-avx2-2core --other-device --dataset testset --out images | did not put there
{REPORT} absent.json                        | no such file
{REPORT} good/config.toml                   | edgeclip-figures
{REPORT} good/figures.json                  | another bundle
{REPORT} good/figures.json --device ssh://x | leave out --device
compare good/report.json                    | two or more
compare good/report.json absent             | no such file
compare good/report.json good/figures.json  | edgeclip-report
compare good/report.json good/report.json --out texts.txt | did not write
compare good/report.json good/report.json --worse -1 | range
eval absent                                 | absent
eval bundle --dataset absent                | absent
eval bundle --dataset empty                 | class
eval bundle --dataset testset --suite openmoji | either
eval bundle --suite absent                  | did you mean|known
eval bundle --suite absent.toml             | no such file
eval bundle --dataset hub:nobody            | hub:
eval bundle --dataset torchvision:NoSuch    | NoSuch
{EVAL} --task nothing                       | zero-shot
{EVAL} --metric nothing                     | accuracy
{EVAL} --task few-shot --shots 0            | range
{EVAL} --out images                         | folder
{EVAL} --out texts.txt                      | did not write
retention bundle --dataset testset          | two models
retention bundle bundle --dataset testset   | two models
retention bundle absent --dataset testset   | absent
retention bundle run --dataset absent       | absent
retention bundle run --dataset testset --out images | did not put there
classify absent images/00.png --labels a,b  | no bundle
classify bundle images/00.png               | --labels
classify bundle images/00.png --labels a    | one label
classify bundle images/00.png --labels ,    | no labels
classify bundle images/00.png --labels bad/latin1.txt | UTF-8
classify bundle absent.png --labels a,b     | no such image
classify bundle empty --labels a,b          | no images
classify bundle absent-*.png --labels a,b   | no images
classify bundle texts.txt --labels a,b      | no such image
classify bundle bad/bomb.png --labels a,b   | bomb.png
classify bundle bad/cut.png --labels a,b    | cut.png
classify bundle bad/pipe.png --labels a,b   | pipe.png
classify bundle images/00.png --labels a,b --precision int4 | fp16
classify bundle images/00.png --labels a,b --top 0 | range
push run nobody                             | USER/NAME
push absent user/name                       | no run
push unfinished user/name                   | --resume unfinished
init good                                   | edgeclip run good
run absent                                  | edgeclip init absent
run good                                    | images
nonsense                                    | No such command
select --profile raspberry-pi-5 --budget 3  | No such option
"""


def rows():
    names = {name: value for name, value in globals().items() if name in ("DISTILL", "REPORT", "EVAL")}
    for line in filter(None, ROWS.splitlines()):
        words, _, said = line.rpartition(" | ")
        yield words.strip().format(**names).split(), said.strip().split("|")


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
    import tarfile

    (bad / "empty.txt").write_text("\n \n")
    (bad / "latin1.txt").write_bytes("café\n".encode("latin-1"))
    (bad / "null.jsonl").write_text('{"text": "a"}\n{"text": null}\n')
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
        refused(["verify", "bundle"], world, [f"{name} is not what was exported"])
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
        (lambda own: own["variants"][0].update(engine="tflite"), "tflite"),
    ],
    ids=["size", "width", "context", "padding", "engine"],
)
def test_a_manifest_that_does_not_fit_its_graphs(edit, said, world, monkeypatch):
    monkeypatch.chdir(world)
    whole = (world / "bundle/bundle.json").read_text()
    content = json.loads(whole)
    edit(content)
    (world / "bundle/bundle.json").write_text(json.dumps(content))
    try:
        refused(["classify", "bundle", "images/00.png", "--labels", "a,b", "--precision", "fp32"], world, [said])
    finally:
        (world / "bundle/bundle.json").write_text(whole)
