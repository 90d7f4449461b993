"""A measurement that outlives the connection that started it: a folder with a plan in, and results out.

``plan.json`` says what to do, ``events.jsonl`` what is being done, ``result.json`` what was found. The process that
works holds ``lock``; started again, a job that runs or is finished is left alone.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from ..base.errors import EdgeclipError, FormatError
from ..base.scratch import scratch_folder
from ..runtime.bytepairs import BytePairTokenizer, is_plain
from ..runtime.engines.registry import find_engine
from ..runtime.golden import PartCheck, give_golden, judge_golden
from ..runtime.plain import asked_runtime, read_plain, readable
from ..runtime.towerjob import RuntimeOptions, TowerJob, text_job, tower_job
from .bench import Plan, bench
from .results import GoldenOutputs

STARTED_WITHIN = 10.0  # seconds
FINISHED = "finished"  # the last event, however it ended


def run_job(folder: Path, command: Sequence[str]) -> None:
    """Start the job in the background, unless it runs or has run; print its state as JSON.

    ``state`` is ``running``, ``finished``, or ``died`` with the process's last words in ``why``.
    """
    if _locked(folder) or not (folder / "began").exists():
        if not _locked(folder):
            _detach(folder, command)
        state: dict[str, Any] = {"state": "running"}
    elif (folder / "result.json").exists():
        state = {"state": "finished"}
    else:
        words = (folder / "log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        state = {"state": "died", "why": words[-1] if words else "it left no word"}
    sys.stdout.write(json.dumps(state) + "\n")


def _detach(folder: Path, command: Sequence[str]) -> None:
    """Work in a process that nobody waits for, in a session of its own: a cut connection takes no process with it."""
    if os.fork():
        deadline = time.monotonic() + STARTED_WITHIN
        while not (folder / "began").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    status = 1
    try:
        log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for stream, other in ((0, nothing), (1, log), (2, log)):
            os.dup2(other, stream)
        with (folder / "lock").open("w") as lock:
            _lock(lock)
            (folder / "began").touch()
            _work(folder, command)
            status = 0
    except BaseException as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.stderr.flush()
    finally:
        with (folder / "events.jsonl").open("a", encoding="utf-8") as events:  # when the lock is free again
            events.write(json.dumps({"text": FINISHED, "done": 1, "steps": 1}) + "\n")
        os._exit(status)


def _work(folder: Path, command: Sequence[str]) -> None:
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    files = folder / "files"
    files.mkdir(exist_ok=True)
    for name, blob in plan["files"].items():
        if not (files / name).exists():
            _place(Path(blob), files / name)
    with (folder / "events.jsonl").open("a", encoding="utf-8") as events:

        def tell(text: str, done: int, steps: int) -> None:
            events.write(json.dumps({"text": text, "done": done, "steps": steps}) + "\n")
            events.flush()

        tell("started", 0, 1)
        if plan["kind"] == "edgeclip":
            result = _edgeclip(plan["words"], folder, tell, plan["within"])
        else:
            do = _bench if plan["kind"] == "bench" else _verify
            result = do(plan, files, command, tell)
    unfinished = folder / "result.json.part"
    unfinished.write_text(json.dumps(result), encoding="utf-8")
    unfinished.replace(folder / "result.json")


def _place(blob: Path, file: Path) -> None:
    """No symbolic link: onnxruntime follows none to a graph's weights. Android and FAT have no other: a copy."""
    try:
        os.link(blob, file)
    except (AttributeError, OSError):
        shutil.copyfile(blob, file)


def _bench(plan: dict[str, Any], files: Path, command: Sequence[str], tell: Any) -> dict[str, Any]:
    """``graph`` and ``archive`` are names in the plan, and paths from here on."""

    def there(job: dict[str, Any]) -> TowerJob:
        return TowerJob(**{**job, "graph": str(files / job["graph"])})

    settings = dict(plan["bench"])
    settings["towers"] = {name: there(job) for name, job in settings["towers"].items()}
    if settings["reference"]:
        settings["reference"] = there(settings["reference"])
    if settings["archive"]:
        settings["archive"] = str(files / settings["archive"])
    return asdict(bench(Plan(**settings), command=command, out=files.parent, on_step=tell))


def _edgeclip(words: Sequence[str], folder: Path, tell: Any, within: float) -> dict[str, Any]:
    """A command of the edgeclip that is installed here, in the job's folder: its status, and its last words.

    One that takes longer than ``within`` seconds hangs, and is ended.
    """
    start, said = time.monotonic(), folder / "said"
    with said.open("wb") as complaints:
        command = [sys.executable, "-m", "edgeclip", *words]
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=complaints)
        while process.poll() is None:
            tell(f"edgeclip {words[0]}, {time.monotonic() - start:.0f} s", 0, 1)
            time.sleep(1)
            if time.monotonic() - start > within:
                process.kill()
                return {"status": 2, "why": f"edgeclip {words[0]} hung: no end in {within / 60:.0f} minutes"}
    lines = said.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return {"status": process.returncode, "why": lines[-1] if lines else "it says nothing"}


def _verify(plan: dict[str, Any], files: Path, command: Sequence[str], tell: Any) -> dict[str, Any]:
    """What is given here is judged where the bundle came from; a bundle or an engine that fails is told."""
    try:
        return asdict(give_bundle(files, command, files.parent, RuntimeOptions(**plan["options"])))
    except EdgeclipError as error:
        return asdict(GoldenOutputs([], {"bundle": str(error)}, []))


def give_bundle(bundle: Path, command: Sequence[str], out: Path, options: RuntimeOptions) -> GoldenOutputs:
    """What this device gives for a bundle's recorded inputs, into ``out``: files as ``runtime/golden.py`` has them.

    Raises:
        EdgeclipError: there is no bundle, a file of it is missing or altered, or the engine cannot be used here.
    """
    manifest = read_plain(bundle)
    find_engine(*asked_runtime(manifest, options.engine, options.provider))
    jobs = {"text": text_job(bundle, manifest, threads=options.threads)} if manifest.get("text") else {}
    precisions, left_out = readable(manifest, options.engine)
    for precision in precisions:
        jobs[precision] = tower_job(bundle, manifest, precision, options)
    tokenize = plain_tokenizer(bundle, manifest) if manifest.get("text") else None
    failed = give_golden(bundle, manifest, tokenize, jobs, command, out)
    return GoldenOutputs(list(jobs), failed, left_out)


def verify_bundle(bundle: Path, command: Sequence[str], options: RuntimeOptions) -> list[PartCheck]:
    """Is every file whole, and does this device give what was recorded? One check a part.

    Raises:
        EdgeclipError: as there.
    """
    with scratch_folder() as out:
        return judge_bundle(bundle, give_bundle(bundle, command, out, options), out)


def judge_bundle(bundle: Path, outputs: GoldenOutputs, given: Path) -> list[PartCheck]:
    """Compare what a device gave into the folder ``given`` with what was recorded."""
    checks = judge_golden(bundle, read_plain(bundle), outputs.towers, given, outputs.failed)
    if why := outputs.failed.get("bundle"):
        checks = [PartCheck("bundle", False, why, ran=False)]
    return checks + [PartCheck("image tower", None, f"not checked: {reason}") for reason in outputs.left_out]


def verified(checks: Sequence[PartCheck]) -> bool:
    """No part differs from what was recorded."""
    return all(check.ok is not False for check in checks)


def plain_tokenizer(bundle: Path, manifest: dict[str, Any]) -> BytePairTokenizer:
    """The bundle's tokenizer, in plain Python."""
    rules = manifest["tokenizer"]
    if not is_plain(rules):
        needed = "pip install 'edgeclip[tokenizers]'"
        raise FormatError(f"{bundle}: its tokenizer is not of CLIP's kind: {needed} reads others")
    settings = {"context_length": rules["context_length"], "pad_id": rules["pad_id"], "clean": rules["clean"]}
    return BytePairTokenizer(bundle / rules["file"], **settings)


def _locked(folder: Path) -> bool:
    try:
        with (folder / "lock").open("a") as lock:
            _lock(lock)
    except BlockingIOError:
        return True
    return False


def _lock(file: IO[str]) -> None:
    import fcntl  # not on Windows, where no job is ever sent

    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
