"""What a device's Python is sent and runs there: it answers one command after another, until nobody asks any more.

A command is a line of JSON on stdin, ``{"do": NAME, ...}``, followed by ``size`` bytes where it has so many. An answer
is a line of JSON on stdout behind a mark that the asking side chose, ``{"answer": ..., "size": N}`` with as many bytes,
or ``{"error": why}``: a login shell may print what it likes before it. The standard library is enough, and nothing is
changed but edgeclip's own folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, BinaryIO

BLOCK = 1 << 18
IDLE_SECONDS = 900  # without any command: the asking side is gone, and no connection has told so
LEASE_SECONDS = 30.0  # without any command: another client may have the device
RUNNER_SECONDS = 60.0  # to say what state a job is in
POLL_SECONDS = 0.25
LEASE = "lease.json"


class Agent:
    """The commands: one a method. Paths are this device's; what is returned is JSON, or a pair of that and bytes."""

    def __init__(self, source: BinaryIO) -> None:
        self.source, self.base, self.token = source, Path(), ""

    def look(self, folder: str) -> dict[str, Any]:
        """What is here, and where edgeclip may keep its files: in ``folder``, or where caches lie."""
        problems = []
        for base in [Path(folder).expanduser()] if folder else places():
            try:
                self.base = prepared(base)
                break
            except OSError as error:
                problems.append(f"{base} ({error.strerror or error})")
        else:
            raise OSError(f"nowhere to put files: {', '.join(problems)}; name a folder: ?folder=PATH in the address")
        missing = [name for name in ("onnxruntime", "numpy", "PIL") if importlib.util.find_spec(name) is None]
        installed = importlib.util.find_spec("edgeclip") is not None
        free = shutil.disk_usage(self.base).free
        return {"missing": missing, "base": str(self.base), "edgeclip": installed, "free": free}

    def claim(self, token: str, owner: str) -> dict[str, Any]:
        """Have the device alone, for as long as commands come; ``holder`` is who has it, empty where it is ours now."""
        path = self.base / LEASE
        with path.with_suffix(".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            held = read_lease(path)
            fresh = held and abs(time.time() - path.stat().st_mtime) < LEASE_SECONDS
            if fresh and held.get("token") != token:
                return {"holder": str(held.get("owner") or "another")[:200]}
            path.write_text(json.dumps({"token": token, "owner": owner, "process": os.getpid()}))
        self.token = token
        return {"holder": ""}

    def release(self) -> dict[str, Any]:
        """Let others have it; unless the same client has come back meanwhile, and another agent works for it."""
        path = self.base / LEASE
        held = read_lease(path) if self.token else {}
        if (held.get("token"), held.get("process")) == (self.token, os.getpid()):
            path.unlink(missing_ok=True)
        self.token = ""
        return {}

    def renew(self) -> None:
        """It is ours still: a command came, or a part of one was done."""
        if self.token:
            with contextlib.suppress(OSError):
                os.utime(self.base / LEASE)

    def have(self, folder: str, names: list[str]) -> dict[str, Any]:
        """How much of each blob is here. A whole one has its hash's name."""
        sizes = {}
        for name in names:
            part = Path(folder, f"{name}.part")
            sizes[name] = {"whole": Path(folder, name).exists(), "part": part.stat().st_size if part.exists() else 0}
        return sizes

    def append(self, path: str, size: int) -> dict[str, Any]:
        """The bytes that follow, to the end of a file. All of them are read, also where the file takes no more."""
        try:
            with Path(path).open("ab", buffering=0) as file:
                while size and (block := self.source.read(min(size, BLOCK))):
                    size -= len(block)
                    while block:
                        block = block[file.write(block) :]
                    self.renew()
        finally:
            while size and (block := self.source.read(min(size, BLOCK))):
                size -= len(block)
        return {}

    def finish(self, folder: str, name: str) -> dict[str, Any]:
        """Is what was sent what was meant? Then it gets its name, which is its hash; else it is removed."""
        part, digest = Path(folder, f"{name}.part"), hashlib.sha256()
        with part.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
                self.renew()
        good = digest.hexdigest() == name
        if good:
            part.replace(Path(folder, name))
        else:
            part.unlink()
        return {"good": good}

    def write(self, path: str, text: str) -> dict[str, Any]:
        """A small file, whole or not at all; its folder is made."""
        file, part = Path(path), Path(f"{path}.part")
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        part.replace(file)
        return {}

    def read(self, path: str, start: int, most: int, wait: float = 0.0) -> tuple[dict[str, Any], bytes]:
        """A file from byte ``start`` on, once it is longer or ``wait`` seconds are over; none longer than ``most``."""
        file, until = Path(path), time.monotonic() + wait
        while (size := file.stat().st_size if file.exists() else 0) <= start and time.monotonic() < until:
            self.renew()
            time.sleep(POLL_SECONDS)
        if not start < size <= most:
            return {"size": size}, b""
        with file.open("rb") as opened:
            opened.seek(start)
            return {"size": size}, opened.read(size - start)

    def job(self, runner: str, folder: str) -> dict[str, Any]:
        """Start a job, or find it running: what the runner says of it."""
        command = [sys.executable, runner, "job", folder]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=RUNNER_SECONDS, check=False
        )
        out, complaint = (stream.decode("utf-8", "replace")[-4000:] for stream in (done.stdout, done.stderr))
        return {"status": done.returncode, "out": out, "complaint": complaint}

    def clean(self, folder: str, blobs: str) -> dict[str, Any]:
        """Remove a job's folder; how many bytes stay for the next time?"""
        shutil.rmtree(folder, ignore_errors=True)
        return {"kept": sum(file.stat().st_size for file in Path(blobs).iterdir())}


def places() -> list[Path]:
    """Where files may be kept, the best first: the user's cache, or a folder below the one for temporary files."""
    homes = [os.environ.get("XDG_CACHE_HOME", ""), os.path.expanduser("~/.cache")]  # noqa: PTH111 (no home: no error)
    return [*(Path(home, "edgeclip") for home in homes if Path(home).is_absolute()), shared_place()]


def shared_place() -> Path:
    """This user's folder below the one for temporary files, which others may write to as well."""
    return Path(tempfile.gettempdir(), f"edgeclip-{os.getuid()}")


def prepared(base: Path) -> Path:
    """``base``, with the folders that are kept in it, and open for writing.

    Raises:
        OSError: it is not.
    """
    try:
        os.fspath(base).encode()
    except UnicodeEncodeError:
        raise OSError("its name is not UTF-8") from None
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    if base == shared_place() and base.lstat().st_uid != os.getuid():
        raise OSError("it is another user's")
    for part in ("blobs", "jobs"):
        (base / part).mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryFile(dir=base):
        return base


def read_lease(path: Path) -> dict[str, Any]:
    """Who has the device; empty where nobody has."""
    try:
        held = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return held if isinstance(held, dict) else {}


def serve(mark: str) -> None:
    """Answer commands until stdin ends. What else writes to stdout goes to stderr."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    agent = Agent(sys.stdin.buffer)
    try:
        _answer_all(agent, mark, answers)
    finally:  # also where the other side is gone
        agent.release()


def _answer_all(agent: Agent, mark: str, answers: BinaryIO) -> None:
    while True:
        signal.alarm(IDLE_SECONDS)  # which ends this process
        line = agent.source.readline()
        signal.alarm(0)
        if not line:
            return
        command, content = json.loads(line), b""
        agent.renew()
        try:
            answer = getattr(agent, command.pop("do"))(**command)
            if isinstance(answer, tuple):
                answer, content = answer
            reply = {"answer": answer, "size": len(content)}
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        answers.write(f"{mark}{json.dumps(reply)}\n".encode() + content)
        answers.flush()
