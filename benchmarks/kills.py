"""Is anything lost where a command is killed (SIGKILL), whenever that is? A thousand kills, over all that write.

    python benchmarks/kills.py [--kills 1000] [--only NAME]

Commands run in children of a process that has imported everything, so that the kills are spread evenly over their
working life, not over their start; a kill takes the workers with it. After each kill: what lies under a final name is
whole (sealed documents are read, bundles verified), and the user's own files are as they were. The same command is
then called again, and killed again; every tenth call is left alone, must end well, and must leave nothing behind.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import results
from interrupts import write_data

from edgeclip.base.documents import read_document
from edgeclip.base.folders import LOCK, MARK, SCRATCH, Mark
from edgeclip.base.scratch import HOST
from edgeclip.chain import follow as chain
from edgeclip.chain.project import Project
from edgeclip.chain.stages import Made
from edgeclip.comparison.retention import Retention
from edgeclip.distillation.config import DistillConfig
from edgeclip.distillation.run import Run, RunDocument
from edgeclip.ecosystem import push  # noqa: F401 (imported before any child)
from edgeclip.evaluation.results import Evaluation
from edgeclip.measurement.schema import Figures
from edgeclip.profiling.schema import Profile
from edgeclip.reporting.schema import Report
from edgeclip.runtime.bundle import Bundle
from edgeclip.runtime.manifest import Manifest
from edgeclip.towers.spec import StudentSpec

IMPORTED = [
    "torch",
    "open_clip",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "onnxruntime.quantization",
    "timm",
    "transformers",
    "accelerate",
    "safetensors.torch",
    "torch.onnx",
    "torch.export",
    "torch._dynamo",
    "edgeclip.exporting.pipeline",
    "edgeclip.distillation.pipeline",
    "edgeclip.chain.report",
    "edgeclip.selection",
    "edgeclip.profiling.probe",
    "edgeclip.chain.rehearsal",
    "edgeclip.distillation.grounding",
    "edgeclip.cli",
    "tensorboard",
]
TINY = """
from pathlib import Path
from open_clip.model import CustomTextCLIP
from edgeclip.models.openclip import save_hub_layout

vision = {"image_size": 32, "patch_size": 16, "width": 64, "layers": 2, "head_width": 32}
text = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
config = {"embed_dim": 32, "vision_cfg": vision, "text_cfg": text, "custom_text": True}
preprocess = {"size": 32, "mean": (0.48, 0.46, 0.41), "std": (0.27, 0.26, 0.28)}
save_hub_layout(CustomTextCLIP(32, dict(vision), dict(text)), config, preprocess, Path("tiny"))
"""
RESUMED = ("distill", "run")  # the next call does what is left alone, and takes less
LEFT_ALONE = 10  # every so many calls one is
SPEC = {
    "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 32, "layers": 1, "head_width": 32},
    "precision": "fp32",
}
KINDS: dict[str, Any] = {
    one.FORMAT: one
    for one in (
        Profile,
        StudentSpec,
        RunDocument,
        Manifest,
        Figures,
        Report,
        Evaluation,
        Retention,
        Mark,
        DistillConfig,
        Made,
        Project,
    )
}


@dataclass(frozen=True)
class Command:
    """What is called. ``words`` may depend on what is there; the ends are what it may answer when it is left alone."""

    words: Callable[[], str]
    out: str  # what it makes, removed when it was made whole
    ends: tuple[int, ...] = (0,)


def distil() -> str:
    """A new run, or the rest of the one that is there."""
    if Path("run/run.json").is_file():
        return "distill --resume run"
    given = (
        "--teacher local-dir:tiny --images images --texts texts.txt --spec spec.json --config config.toml --store store"
    )
    return f"distill --profile x86-avx2-2core {given} --out run"


PROJECT = """
teacher = "local-dir:{0}/tiny"
profile = "x86-avx2-2core"
images = "{0}/images"
texts = "{0}/texts.txt"
dataset = "{0}/testset"

[budget]
latency_ms = 50
size_mb = 0.3

[distill]
epochs = 6
batch_size = 20
views = 2
warmup_epochs = 0
checkpoint_seconds = 0.2
tracker = "none"
"""


def follow() -> str:
    """A new project, or the rest of the one that is there."""
    if not Path("followed/project.toml").is_file():
        Path("followed").mkdir(exist_ok=True)
        Path("followed/project.toml").write_text(PROJECT.format(Path.cwd()))
    return "run followed"


COMMANDS = {
    "init": Command(lambda: "init project", "project", (0, 2)),  # 2: killed when all was there already
    "profile": Command(lambda: "profile mine --seconds 5 --family vit --out new.toml --force", "new.toml", (0, 2)),
    "select": Command(
        lambda: "select --profile x86-avx2-2core --latency-ms 3 --no-measure --plot new.svg --out new.json --force",
        "new.json",
    ),
    "texts select": Command(
        lambda: "texts select --images images --corpus texts.txt --teacher local-dir:tiny --out kept.jsonl --force",
        "kept.jsonl",
    ),
    "distill": Command(distil, "run"),
    "export": Command(lambda: "export local-dir:tiny --calibration images --out new --force", "new"),
    "measure": Command(
        lambda: "measure bundle --precision fp32 --seconds 1 --out figures.json --force", "figures.json"
    ),
    "report": Command(
        lambda: (
            "report bundle --profile x86-avx2-2core --other-device --latency-ms 999 --seconds 1 --dataset testset"
            " --out reported --force"
        ),
        "reported",
        (0, 3, 4),
    ),
    "eval": Command(lambda: "eval bundle --dataset testset --out eval.json --force", "eval.json"),
    "run": Command(follow, "followed", (0, 3, 4)),
    "retention": Command(lambda: "retention local-dir:tiny bundle --dataset testset --out kept --force", "kept"),
}


def prepare(folder: Path) -> dict[str, str]:
    """What the commands need, and some of the user's own files where they write; the hashes of all of it."""
    write_data(folder)
    (folder / "spec.json").write_text(json.dumps(SPEC))
    config = 'epochs = 6\nbatch_size = 20\nviews = 2\nwarmup_epochs = 0\ncheckpoint_seconds = 0.2\ntracker = "none"\n'
    (folder / "config.toml").write_text(config)
    shutil.rmtree(folder / "bundle")
    subprocess.run(
        [sys.executable, "-c", TINY], cwd=folder, check=True
    )  # torch is not to run before there are children
    status, _, said = call("export local-dir:tiny --calibration images --precision fp32 --out bundle", folder, None)
    assert status == 0, said
    (folder / "bundle-of-mine.txt").write_text("mine")
    return hashes(folder)


def hashes(folder: Path) -> dict[str, str]:
    """Of every file below."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def call(words: str, folder: Path, kill_after: float | None) -> tuple[int | None, float, str]:
    """Run in a child; its status, None where it was killed, the seconds that it took, and what it said."""
    log = folder.parent / "log"
    began = time.monotonic()
    child = os.fork()
    if not child:
        run(words, folder, log)
    pid = status = 0
    while not pid and (kill_after is None or time.monotonic() - began < kill_after):
        pid, status = os.waitpid(child, os.WNOHANG)
        time.sleep(0.001)
    if not pid:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return None, time.monotonic() - began, log.read_text(errors="replace")
    return os.waitstatus_to_exitcode(status), time.monotonic() - began, log.read_text(errors="replace")


def run(words: str, folder: Path, log: Path) -> None:
    """In the child: a session of its own, its words in a file, and never back."""
    status = 1
    try:
        os.setsid()
        os.chdir(folder)
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        from edgeclip.cli import main

        main(words.split(), prog_name="edgeclip")
    except SystemExit as ended:
        status = int(ended.code or 0)
    except BaseException as error:
        print(f"Traceback: {type(error).__name__}: {error}", flush=True)
    finally:
        sys.stdout.flush()
        os._exit(status)


def faults(folder: Path, own: dict[str, str], *, over: bool) -> list[str]:
    """What a kill, or, where it is ``over``, a call that was left alone, has left behind."""
    found = [f"{name} is not what it was" for name, digest in own.items() if hashes_one(folder / name) != digest]
    for path in folder.rglob("*"):
        inside = SCRATCH in path.parts or path.name.startswith(".")
        if not path.is_file() or (inside and path.name != MARK):
            continue
        if path.suffix in (".json", ".toml") and (kind := kind_of(path)):
            found += told(path, lambda path=path, kind=kind: read_document(path, kind))  # type: ignore[misc]
    openers: dict[str, Callable[[Path], Any]] = {"bundle.json": Bundle.open, "run.json": Run.open}
    for name, opens in openers.items():
        for file in folder.rglob(name):
            if SCRATCH not in file.parts:
                found += told(file, lambda opens=opens, file=file: opens(file.parent))  # type: ignore[misc]
    if over:
        left = [path for path in folder.rglob("*") if path.name in (LOCK, SCRATCH) or f".{HOST}-" in path.name]
        left += list(Path(tempfile.gettempdir()).glob(f"edgeclip-{HOST}-*"))
        found += [f"{path} was left" for path in left]
    return found


def hashes_one(path: Path) -> str:
    """Of a file; nothing where it is gone."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def kind_of(path: Path) -> Any:
    """The document's kind, by the format that it names; None where it is none of ours, half-written or not."""
    text = path.read_text(errors="replace")
    return next((kind for name, kind in KINDS.items() if name in text[:200]), None)


def told(path: Path, reads: Callable[[], object]) -> list[str]:
    """What is the matter with a file that is there."""
    try:
        reads()
    except Exception as error:
        return [f"{path}: {type(error).__name__}: {error}"]
    return []


def torture(name: str, command: Command, folder: Path, own: dict[str, str], kills: int) -> dict[str, Any]:
    """Kill it so often, at times spread evenly over the time that it takes."""
    os.chdir(folder)
    status, seconds, said = call(command.words(), folder, None)
    assert status in command.ends, said
    remove(folder / command.out)
    spread = [(number + random.random()) / kills for number in range(kills)]
    random.shuffle(spread)
    wrong: list[str] = []
    done = calls = 0
    over = False
    while not over:
        over = done == kills  # the last call is left alone
        calls += 1
        alone = over or calls % LEFT_ALONE == 0
        status, took, said = call(command.words(), folder, None if alone else spread[done] * seconds)
        if alone or status is not None:
            if status not in command.ends or "Traceback" in said:
                wrong.append(f"call {calls} ended with {status}: {said[-500:]}")
            wrong += faults(folder, own, over=alone)
            if alone:
                seconds = max(seconds, took) if name in RESUMED else took
            remove(folder / command.out)
            done += status is not None and not alone  # it was over before: as good a moment as any after its last write
            continue
        done += 1
        found = faults(folder, own, over=False)
        if found:
            print(f"{name}, after {took:.2f} of {seconds:.2f} s: {found[-1]}", flush=True)
        wrong += found
    return {"kills": done, "calls": calls, "seconds": round(seconds, 2), "wrong": wrong}


def remove(path: Path) -> None:
    """What was made; marks and all."""
    if path.is_dir():
        for one in path.rglob("*"):
            one.chmod(0o755)
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def main() -> None:
    """Kill everything, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(COMMANDS))
    parser.add_argument("--kills", type=int, default=1000, help="all commands together")
    asked = parser.parse_args()
    chosen = {name: one for name, one in COMMANDS.items() if asked.only in (None, name)}
    for module in IMPORTED:
        importlib.import_module(module)
    random.seed(0)
    chain.REPORT_SECONDS = 1.0  # its kills are to reach every stage
    found = {}
    with tempfile.TemporaryDirectory() as place:
        folder, scratch = Path(place) / "work", Path(place) / "tmp"
        for one in (folder, scratch):
            one.mkdir()
        os.environ |= {"EDGECLIP_CACHE": f"{place}/cache", "XDG_CONFIG_HOME": f"{place}/config", "TMPDIR": str(scratch)}
        tempfile.tempdir = str(scratch)
        own = prepare(folder)
        for name, command in chosen.items():
            found[name] = torture(name, command, folder, own, -(-asked.kills // len(chosen)))
            print(name, {key: value for key, value in found[name].items() if key != "wrong"}, flush=True)
        os.chdir("/")
    wrong = [line for one in found.values() for line in one["wrong"]]
    print(f"{sum(one['kills'] for one in found.values())} kills, {len(wrong)} faults")
    if asked.only is None:
        results.save("kills", {"commands": found})
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
