"""A connection to a device that is made again when it is lost; files are copied once, in parts, and checked."""

from __future__ import annotations

import getpass
import platform
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from ..base.console import say
from ..base.errors import EdgeclipError
from .addresses import LinkLost
from .bench import Step
from .links import DeviceRefused, Link, connect, join
from .replies import Blob, Claim, Finished, Look, Made, read_reply

TRIES, WAIT_SECONDS = 6, 2.0  # to connect again, and between two of them
RESERVE = 4 << 20  # bytes that are left free on the device
T = TypeVar("T")


class Session:
    """What a device is asked for and sent, whatever happens to the connection meanwhile."""

    def __init__(self, address: str, folder: str = "") -> None:
        self.name = self._address = address
        self._folder = folder
        self._link: Link | None = None
        self._left_behind = ""
        self._base, self._free, self._edgeclip = "", 0, False
        self._token, self._owner = secrets.token_hex(16), f"{_user()}@{platform.node() or 'unknown'}"

    def look(self) -> None:
        """Find out whether Python and the packages are there, and have the device for this session alone.

        Raises:
            EdgeclipError: the device cannot be reached, or something is missing: the text says what brings it.
        """
        reply = self._ask(Look, "look", "what is there", folder=self._folder)
        if reply.missing:
            packages = " ".join("pillow" if name == "PIL" else name for name in reply.missing)
            python = self._link.python if self._link else "python3"
            raise EdgeclipError(f"{self.name}: no {packages} there: {python} -m pip install {packages}")
        self._base, self._free, self._edgeclip = reply.base, reply.free, reply.edgeclip
        self._steady(self._claim)

    def _claim(self, link: Link) -> None:
        """Wait until nobody else measures there: two at once would measure each other."""
        shown = ""
        while holder := self._holder(link):
            if holder != shown:
                say(f"{self.name}: in use by {holder}: waiting until it is free (Ctrl-C to stop)")
                shown = holder
            time.sleep(WAIT_SECONDS)

    def _holder(self, link: Link) -> str:
        answer = link.ask("claim", token=self._token, owner=self._owner)
        return read_reply(self.name, "who uses it", answer, Claim).holder

    def close(self) -> None:
        """Hang up."""
        if self._link:
            with suppress(Exception):
                self._link.ask("release")
        self._hang_up()

    def _hang_up(self) -> None:
        if self._link:
            with suppress(Exception):
                self._link.close()
            self._link = None

    def _copy(self, blobs: Mapping[str, Path], tell: Step) -> None:
        """Bring every blob there that is not there yet."""
        folder = join(self._base, "blobs")
        have = self._ask(dict[str, Blob], "have", "what it holds", folder=folder, names=sorted(blobs))
        if missing := blobs.keys() - have.keys():
            raise EdgeclipError(f"{self.name}: its answer about what it holds lacks {missing.pop()}")
        wanting = {digest: path for digest, path in blobs.items() if not have[digest].whole}
        need = sum(path.stat().st_size - have[digest].part for digest, path in wanting.items())
        if need + RESERVE > self._free:
            raise EdgeclipError(
                f"{self.name}: {need / 1e6:.1f} MB to copy, {self._free / 1e6:.1f} MB free in {self._base}: make room,"
                " or name another folder: ?folder=PATH at the end of its address"
            )
        for number, (digest, path) in enumerate(wanting.items()):
            tell(f"copy {path.name}", number, len(wanting))
            self._copy_one(digest, path, folder)

    def _copy_one(self, digest: str, path: Path, folder: str) -> None:
        def send(link: Link) -> None:
            answer = link.ask("have", folder=folder, names=[digest])
            there_is = read_reply(self.name, "what it holds", answer, dict[str, Blob]).get(digest)
            try:
                link.append(path, join(folder, f"{digest}.part"), there_is.part if there_is else 0)
            except DeviceRefused as error:
                refused = f"{self.name}: cannot write {path.name} to {folder} ({error}): is its disk full?"
                raise EdgeclipError(f"{refused}{self._left_behind}") from None

        for _ in range(2):  # what was left of an earlier try may be of no use
            self._steady(send)
            if self._ask(Finished, "finish", "its files", folder=folder, name=digest).good:
                return
        raise EdgeclipError(f"{self.name}: {path.name} arrives damaged: check the device's disk")

    def _write(self, remote: str, content: str) -> None:
        """A small file of ours, unless it is there: a job's folder is named by what is in them."""
        if self._read(remote).decode() != content:
            self._ask(Made, "write", "its files", path=remote, text=content)

    def _read(self, remote: str, start: int = 0, **limits: Any) -> bytes:
        return self._steady(lambda link: link.read(remote, start, **limits))

    def _ask(self, kind: type[T], do: str, what: str, **arguments: Any) -> T:
        """A command of the agent's, whose answer is of a kind."""
        answer = self._steady(lambda link: link.ask(do, **arguments))
        return read_reply(self.name, what, answer, kind)

    def _connected(self) -> Link:
        if self._link is None:
            self._link = connect(self._address)
            self.name = self._link.name
            if self._base:
                self._link.ask("look", folder=self._base)
                self._claim(self._link)  # another may have come while it was lost
        return self._link

    def _steady(self, action: Callable[[Link], T]) -> T:
        """Do something that may be done twice; where the connection is lost meanwhile, make a new one and do it again.

        Raises:
            EdgeclipError: no connection in ``TRIES`` tries, or the device cannot do it; what is left there is said.
        """
        for attempt in range(TRIES):
            try:
                return action(self._connected())
            except DeviceRefused as error:
                advice = ": is its disk full?" if "No space left" in str(error) else ""
                raise EdgeclipError(f"{self.name}: {error}{advice}{self._left_behind}") from None
            except LinkLost as error:
                self._hang_up()
                if attempt == TRIES - 1 or not self._base:
                    raise EdgeclipError(f"no connection: {error}{self._left_behind}") from error
                say(f"{self.name}: the connection is lost, trying again")
                time.sleep(WAIT_SECONDS)
        raise AssertionError("unreachable")


def last_line(complaint: str) -> str:
    """The last line of what a command complained of."""
    return (complaint.strip().splitlines() or ["no reason given"])[-1]


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no user of this number has a name
        return "unknown"
