"""A connection to a device that is made again when it is lost; files are copied once, in parts, and checked."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from ..base.console import say
from ..base.errors import EdgeclipError
from ..base.scratch import scratch_folder
from . import there
from .bench import Step
from .links import Link, LinkLost, connect, join
from .replies import Blob, Finished, Look, Made, read_reply

TRIES, WAIT_SECONDS = 6, 2.0  # to connect again, and between two of them
RESERVE = 4 << 20  # bytes that are left free on the device
T = TypeVar("T")


class Session:
    """What a device is asked for and sent, whatever happens to the connection meanwhile."""

    def __init__(self, address: str) -> None:
        self.name = self._address = address
        self._link: Link | None = None
        self._left_behind = ""
        self._base, self._free, self._edgeclip = "", 0, False

    def look(self) -> None:
        """Find out whether Python and the packages are there.

        Raises:
            EdgeclipError: the device cannot be reached, or something is missing: the text says what brings it.
        """
        status, out, complaint = self._steady(lambda link: link.run([link.python, "-c", there.LOOK]))
        python = self._link.python if self._link else "python3"
        if status in (126, 127):
            raise EdgeclipError(
                f"{self.name}: no {python} there: install Python 3.10 or newer, or name it, {self._address}/path/to/it"
            )
        if status:
            raise EdgeclipError(f"{self.name}: {python} fails there ({last_line(complaint)})")
        reply = read_reply(self.name, "what is there", out, Look)
        if tuple(reply.python) < (3, 10):
            version = ".".join(map(str, reply.python))
            raise EdgeclipError(f"{self.name}: its {python} is {version}, 3.10 is needed: name another in the address")
        if reply.missing:
            packages = " ".join("pillow" if name == "PIL" else name for name in reply.missing)
            raise EdgeclipError(f"{self.name}: no {packages} there: {python} -m pip install {packages}")
        self._base, self._free, self._edgeclip = reply.base, reply.free, reply.edgeclip

    def close(self) -> None:
        """Hang up."""
        if self._link:
            with suppress(Exception):
                self._link.close()
            self._link = None

    def _copy(self, blobs: Mapping[str, Path], tell: Step) -> None:
        """Bring every blob there that is not there yet."""
        folder = join(self._base, "blobs")
        have = self._ask(dict[str, Blob], there.HAVE, folder, *blobs)
        if missing := blobs.keys() - have.keys():
            raise EdgeclipError(f"{self.name}: its answer about what it holds lacks {missing.pop()}")
        wanting = {digest: path for digest, path in blobs.items() if not have[digest].whole}
        need = sum(path.stat().st_size - have[digest].part for digest, path in wanting.items())
        if need + RESERVE > self._free:
            raise EdgeclipError(
                f"{self.name}: {need / 1e6:.1f} MB to copy, {self._free / 1e6:.1f} MB free in {self._base}: make room"
            )
        for number, (digest, path) in enumerate(wanting.items()):
            tell(f"copy {path.name}", number, len(wanting))
            self._copy_one(digest, path, folder)

    def _copy_one(self, digest: str, path: Path, folder: str) -> None:
        def send(link: Link) -> None:
            status, out, complaint = link.run([link.python, "-c", there.HAVE, folder, digest])
            if status:
                raise EdgeclipError(f"{self.name}: {last_line(complaint)}")
            there_is = read_reply(self.name, "what it holds", out, dict[str, Blob]).get(digest)
            link.append(path, join(folder, f"{digest}.part"), there_is.part if there_is else 0)

        for _ in range(2):  # what was left of an earlier try may be of no use
            try:
                self._steady(send)
            except OSError as error:
                raise EdgeclipError(
                    f"{self.name}: cannot write {path.name} to {folder} ({error}): is its disk full?{self._left_behind}"
                ) from error
            if self._ask(Finished, there.FINISH, folder, digest).good:
                return
        raise EdgeclipError(f"{self.name}: {path.name} arrives damaged: check the device's disk")

    def _write(self, remote: str, content: str) -> None:
        """A small file of ours, unless it is there: a job's folder is named by what is in them."""
        if self._steady(lambda link: link.read(remote)).decode() == content:
            return
        self._ask(Made, "import os, sys; os.path.exists(sys.argv[1]) and os.remove(sys.argv[1]); print('{}')", remote)
        with scratch_folder() as scratch:
            local = Path(scratch) / "file"
            local.write_text(content, encoding="utf-8")
            try:
                self._steady(lambda link: link.append(local, remote, 0))
            except OSError as error:
                raise EdgeclipError(f"{self.name}: cannot write {remote} ({error}): is its disk full?") from error

    def _ask(self, kind: type[T], script: str, *arguments: str) -> T:
        """Run one of the scripts of ``there.py``, whose answer is of a kind."""
        status, out, complaint = self._steady(lambda link: link.run([link.python, "-c", script, *arguments]))
        if status:
            full = "No space left" in complaint
            advice = ": its disk is full, make room there" if full else ""
            raise EdgeclipError(f"{self.name}: {last_line(complaint)}{advice}{self._left_behind}")
        return read_reply(self.name, "its files", out, kind)

    def _steady(self, action: Callable[[Link], T]) -> T:
        """Do something that may be done twice; where the connection is lost meanwhile, make a new one and do it again.

        Raises:
            EdgeclipError: no connection in ``TRIES`` tries; what is left on the device is said.
        """
        for attempt in range(TRIES):
            try:
                if self._link is None:
                    self._link = connect(self._address)
                    self.name = self._link.name
                return action(self._link)
            except LinkLost as error:
                self.close()
                if attempt == TRIES - 1 or not self._base:
                    raise EdgeclipError(f"no connection: {error}{self._left_behind}") from error
                say(f"{self.name}: the connection is lost, trying again")
                time.sleep(WAIT_SECONDS)
        raise AssertionError("unreachable")


def last_line(complaint: str) -> str:
    """The last line of what a command complained of."""
    return (complaint.strip().splitlines() or ["no reason given"])[-1]
