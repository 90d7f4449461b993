"""A way to a device: the user's own ssh or adb, and at its other end the agent, which runs commands and moves files."""

from __future__ import annotations

import json
import queue
import secrets
import shlex
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol

from ..base.errors import EdgeclipError
from .addresses import Address, LinkLost, Target, parse_address, target_of

BLOCK = 1 << 18
LARGEST, ANSWER_BYTES = 256 << 20, 4 << 20  # of a file that is read, of an answer
HELLO_SECONDS, ANSWER_SECONDS = 60.0, 180.0  # to connect and start Python, to answer
OLDEST = (3, 10)
NOISE_BYTES = 1 << 20  # that a login shell may print before the agent speaks
# Runs in any Python, and says which one it is before it runs what only a newer one can.
HELLO = """import json, sys
sys.stdout.write({mark!r} + json.dumps({{"answer": {{"python": list(sys.version_info[:2])}}, "size": 0}}) + "\\n")
sys.stdout.flush()
exec(i.read(int(i.readline())))
"""
START = "import sys;i=getattr(sys.stdin,'buffer',sys.stdin);exec(i.read(int(i.readline())))"


class DeviceRefused(Exception):
    """The device could not do a command: its disk is full, for one. The text is its own."""


class Link(Protocol):
    """One connection. Every method may raise :class:`LinkLost` or :class:`DeviceRefused`."""

    name: str
    python: str  # the interpreter there

    def ask(self, do: str, **arguments: Any) -> str:
        """A command of :class:`edgeclip.measurement.agent.Agent` that returns no bytes; its answer as JSON."""
        ...

    def append(self, local: Path, remote: str, start: int) -> None:
        """Write ``local`` from byte ``start`` on to the end of ``remote``."""
        ...

    def read(self, remote: str, start: int = 0, most: int = LARGEST, wait: float = 0.0) -> bytes:
        """What ``remote`` holds from byte ``start`` on; empty where there is no more after ``wait`` seconds.

        Raises:
            EdgeclipError: it holds more than ``most`` bytes.
        """
        ...

    def close(self) -> None:
        """Hang up."""
        ...


def connect(address: str) -> Link:
    """Open ``ssh://[user@]host[:port][/python]`` or ``adb://SERIAL[/python]``.

    Raises:
        EdgeclipError: the address is not one, ssh or adb is not installed, or the device refuses: its host key is not
            known, the user's key is not accepted, there is no Python.
        LinkLost: nobody answers.
    """
    parsed = parse_address(address)
    return AgentLink(parsed, target_of(parsed))


class AgentLink:
    """A process of ssh's or adb's, in which the agent runs until this side hangs up."""

    def __init__(self, address: Address, target: Target) -> None:
        self.name, self.python, self._target = target.name, address.python, target
        self._mark = f"edgeclip-{secrets.token_hex(8)}:"
        self._complaints: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (a pipe would fill where nobody reads)
        python = _as_shell_word(address.python)
        command = target.command(f"{python} -c {shlex.quote(START)}")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self._complaints}
        # In a session of its own: Ctrl-C is for this side, which then says good-bye to the device.
        self._process: subprocess.Popen[bytes] = subprocess.Popen(
            command,
            **pipes,
            bufsize=0,
            start_new_session=True,  # type: ignore[call-overload]
        )
        self._arrived: queue.Queue[bytes] = queue.Queue(maxsize=64)
        self._buffer, self._ended = bytearray(), False
        threading.Thread(target=self._listen, daemon=True).start()
        agent = (files("edgeclip.measurement") / "agent.py").read_bytes() + f"\nserve({self._mark!r})\n".encode()
        hello = HELLO.format(mark=self._mark).encode()
        try:
            self._greet(b"".join(b"%d\n%b" % (len(source), source) for source in (hello, agent)))
        except BaseException:
            self.close()
            raise

    def _greet(self, sources: bytes) -> None:
        """Send the agent, and wait for its Python to say what it is."""
        try:
            self._send(sources)
            hello = json.loads(self._answer(HELLO_SECONDS))
        except LinkLost:
            raise self._why_none() from None
        version = hello.get("python") if isinstance(hello, dict) else None
        if not isinstance(version, list) or [type(number) for number in version] != [int, int]:
            raise EdgeclipError(f"{self.name}: it answers {str(hello)[:80]!r} about its Python, which is not an answer")
        if tuple(version) < OLDEST:
            number = ".".join(map(str, version))
            needed = "3.10 is needed: name another in the address"
            raise EdgeclipError(f"{self.name}: its {self.python} is {number}, {needed}")

    def _why_none(self) -> Exception:
        """Why no agent has spoken, by what ssh or adb, or the shell there, complained of."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        status = self._process.poll()
        if status is None:
            return EdgeclipError(f"{self.name}: no answer within {HELLO_SECONDS:.0f} s: try {self._target.by_hand}")
        complaint = self._last_words()
        if status in (126, 127):
            return EdgeclipError(
                f"{self.name}: no {self.python} there: install Python 3.10 or newer, or name it in the address,"
                f" {self._target.address}/path/to/python3"
            )
        return self._target.refusal(status, complaint, self.python)

    def ask(self, do: str, **arguments: Any) -> str:
        """As :class:`Link`."""
        self._command(do, arguments)
        return self._answer(ANSWER_SECONDS)

    def append(self, local: Path, remote: str, start: int) -> None:
        """As :class:`Link`."""
        size = local.stat().st_size - start
        self._command("append", {"path": remote, "size": size})
        with local.open("rb") as source:
            source.seek(start)
            while block := source.read(min(size, BLOCK)):
                self._send(block)
                size -= len(block)
        self._answer(ANSWER_SECONDS)

    def read(self, remote: str, start: int = 0, most: int = LARGEST, wait: float = 0.0) -> bytes:
        """As :class:`Link`."""
        self._command("read", {"path": remote, "start": start, "most": most, "wait": wait})
        answer, count = self._frame(ANSWER_SECONDS + wait)
        with suppress(ValueError, TypeError, KeyError):
            refuse_larger(self.name, remote, int(json.loads(answer)["size"]), most)
        refuse_larger(self.name, remote, count, most)
        return self._bytes(count)

    def close(self) -> None:
        """As :class:`Link`."""
        with suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=2)
        self._process.kill()
        self._process.wait()
        self._ended = True
        with suppress(queue.Empty):  # whoever waits to put something there
            while True:
                self._arrived.get_nowait()
        self._process.stdout.close()  # type: ignore[union-attr]
        self._complaints.close()
        self._target.close()

    def _command(self, do: str, arguments: dict[str, Any]) -> None:
        self._send(json.dumps({"do": do, **arguments}).encode() + b"\n")

    def _send(self, content: bytes) -> None:
        """Write it all; a device that takes nothing for long is given up."""
        assert self._process.stdin is not None
        watchdog = threading.Timer(ANSWER_SECONDS, self._process.kill)
        watchdog.start()
        try:
            view = memoryview(content)
            while view:
                view = view[self._process.stdin.write(view) :]
        except (OSError, ValueError) as error:
            raise LinkLost(f"{self.name}: {self._last_words() or error}") from None
        finally:
            watchdog.cancel()

    def _answer(self, seconds: float) -> str:
        return self._frame(seconds)[0]

    def _frame(self, seconds: float) -> tuple[str, int]:
        """The next answer as JSON, and how many bytes follow it."""
        mark = self._mark.encode()
        until = time.monotonic() + seconds
        while (at := self._buffer.find(mark)) < 0 or self._buffer.find(b"\n", at) < 0:
            if at < 0:
                refuse_larger(self.name, "what it prints before it answers", len(self._buffer), NOISE_BYTES)
            refuse_larger(self.name, "its answer", len(self._buffer), ANSWER_BYTES)
            self._fill(until)
        end = self._buffer.index(b"\n", at)
        line = bytes(self._buffer[at + len(mark) : end])
        del self._buffer[: end + 1]
        try:
            reply = json.loads(line)
            if "error" in reply:
                raise DeviceRefused(str(reply["error"])[:300])
            if (size := reply["size"]) < 0:
                raise ValueError("bytes below none")
            return json.dumps(reply["answer"]), int(size)
        except (ValueError, TypeError, KeyError, RecursionError):
            raise EdgeclipError(f"{self.name}: it answers {line[:80]!r}, which is not an answer") from None

    def _bytes(self, count: int) -> bytes:
        until = time.monotonic() + ANSWER_SECONDS
        while len(self._buffer) < count:
            before = len(self._buffer)
            self._fill(until)
            if len(self._buffer) > before:
                until = time.monotonic() + ANSWER_SECONDS
        content = bytes(self._buffer[:count])
        del self._buffer[:count]
        return content

    def _fill(self, until: float) -> None:
        """Wait for more to arrive.

        Raises:
            LinkLost: the connection ended.
            EdgeclipError: nothing arrives in time.
        """
        try:
            block = self._arrived.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            raise EdgeclipError(f"{self.name}: no answer in time, and no end: try {self._target.by_hand}") from None
        if not block:
            self._arrived.put(b"")  # for whoever asks again
            raise LinkLost(f"{self.name}: {self._last_words() or 'the connection ended'}")
        self._buffer += block

    def _listen(self) -> None:
        """What arrives, in blocks, then an empty one: a thread waits for it, so that a wait can have an end."""
        stream = self._process.stdout
        assert stream is not None
        block = b"x"
        while block and not self._ended:
            try:
                block = stream.read(BLOCK)
            except (OSError, ValueError):
                block = b""
            self._arrived.put(block)

    def _last_words(self) -> str:
        self._complaints.seek(0)
        lines = self._complaints.read().decode("utf-8", "replace").strip().splitlines()
        return "\n".join(lines[-20:])


def _as_shell_word(python: str) -> str:
    """Quoted for the device's shell, which is to replace ``~`` at its beginning."""
    if python.startswith("~"):
        home, slash, rest = python.partition("/")
        return home + slash + (shlex.quote(rest) if rest else "")
    return shlex.quote(python)


def refuse_larger(name: str, what: str, size: int, most: int) -> None:
    """Refuse what is longer than any of its kind.

    Raises:
        EdgeclipError: it is.
    """
    if size > most:
        raise EdgeclipError(f"{name}: {what} has {size:,} bytes, {most:,} at most are read: is it another's?")


def join(*parts: str) -> str:
    """A path on the device."""
    return str(PurePosixPath(*parts))
