"""Addresses of devices, and the programs of the user's that lead there: OpenSSH's client, and Android's bridge."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from ..base.errors import EdgeclipError

EXAMPLES = ("ssh://pi@raspberry.local:22", "adb://SERIAL")
SHOWN = 100  # characters of an address that is not one
LONGEST_HOST = 253  # RFC 1035
CONNECT_SECONDS, ALIVE_SECONDS = 15, 5
ADB_PORT = 5037
# What no other try would change. Everything else that ssh ends with may be a line that is down for a moment.
REFUSALS = ("Permission denied", "Too many authentication failures", "onfiguration option", "Bad owner or permissions")
KEYS = {
    "REMOTE HOST IDENTIFICATION HAS CHANGED": "its host key is NOT the known one: another machine may answer",
    "REVOKED HOST KEY": "its host key is revoked in known_hosts",
    "Host key verification failed": "its host key is not known: run {by_hand}, check the key and accept it",
}


class LinkLost(Exception):
    """The connection is gone; a new one may be made."""


@dataclass(frozen=True)
class Address:
    """``ssh://[user@]host[:port][/python]`` or ``adb://SERIAL[/python]``, with ``?folder=PATH`` for files there."""

    scheme: str
    host: str
    user: str | None
    port: int | None
    python: str
    folder: str  # where files are put; empty: where caches lie

    @property
    def words(self) -> str:
        """Without the interpreter and the folder."""
        user, port = f"{self.user}@" if self.user else "", f":{self.port}" if self.port else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{user}{host}{port}"


def parse_address(address: str) -> Address:
    """Take an address apart.

    Raises:
        EdgeclipError: it is not one.
    """
    shown = address[:SHOWN]
    try:
        parts = urlsplit(address)
        port, secret, host = parts.port, parts.password, parts.hostname or ""
        query = parse_qs(parts.query, strict_parsing=True, max_num_fields=4) if parts.query else {}
    except ValueError as error:
        raise EdgeclipError(f"{shown}: not an address ({error}): as in {EXAMPLES[0]}") from None
    if secret is not None:
        raise EdgeclipError(
            "a password in an address can be read by others: leave it out, and log in by a key, as ssh does"
        )
    if port == 0 or len(host) > LONGEST_HOST:
        what = "port 0" if port == 0 else f"a host's name of {len(host)} characters"
        raise EdgeclipError(f"{shown}: {what} reaches nothing: as in {EXAMPLES[0]}")
    if unknown := query.keys() - {"folder"}:
        raise EdgeclipError(f"{shown}: {unknown.pop()!r} is not a part of an address: ?folder=PATH is")
    host = unquote(parts.netloc) if parts.scheme == "adb" else _spelt(parts.netloc, host)
    python = unquote(parts.path) if parts.path not in ("", "/") else "python3"
    python = python[1:] if python.startswith("/~") else python  # /~/venv/bin/python: below the user's home there
    if (
        parts.scheme not in ("ssh", "adb")
        or not host
        or re.search(r"[\x00-\x20]", host + (parts.username or "") + python)
    ):
        raise EdgeclipError(f"{shown}: not an address: as in {' or '.join(EXAMPLES)}")
    user = unquote(parts.username) if parts.username and parts.scheme == "ssh" else None
    return Address(parts.scheme, host, user, port, python, query.get("folder", [""])[0])


def _spelt(netloc: str, host: str) -> str:
    """The host as it was typed: ``Host`` in a user's configuration heeds case."""
    at = netloc.lower().rfind(host.lower())
    return netloc[at : at + len(host)] if host and at >= 0 else host


class Target(Protocol):
    """A program that leads to a device."""

    name: str  # of the device, in messages
    address: str
    by_hand: str  # a command that shows a person what is the matter

    def command(self, there: str) -> list[str]:
        """What to start here, so that the device's shell runs ``there``."""
        ...

    def refusal(self, status: int, complaint: str, python: str) -> Exception:
        """Why nothing ran there, by how the program ended."""
        ...

    def close(self) -> None:
        """Leave nothing behind."""
        ...


def target_of(address: Address) -> Target:
    """The program for an address.

    Raises:
        EdgeclipError: it is not installed, or refuses its configuration.
    """
    return SshTarget(address) if address.scheme == "ssh" else AdbTarget(address)


class SshTarget:
    """OpenSSH's client with the user's own configuration, keys, agent and known hosts; it asks for nothing."""

    def __init__(self, address: Address) -> None:
        if shutil.which("ssh") is None:
            raise EdgeclipError("ssh is not installed here, which leads to other machines: apt install openssh-client")
        self._place = ["-p", str(address.port)] if address.port else []
        self._place += ["-l", address.user] if address.user else []
        self._place += ["--", address.host]
        self.address = address.words
        self.by_hand = shlex.join(["ssh", *(word for word in self._place if word != "--")])
        self.name = self._named(address)

    def _named(self, address: Address) -> str:
        """``user@host:port`` by the user's configuration."""
        shown = subprocess.run(
            ["ssh", "-G", *self._place], capture_output=True, text=True, errors="replace", check=False, timeout=60
        )
        if shown.returncode:
            raise EdgeclipError(f"{address.words}: ssh refuses its configuration: {_last(shown.stderr)}")
        settings = dict(line.split(" ", 1) for line in shown.stdout.splitlines() if " " in line)
        return f"{settings.get('user', address.user)}@{address.host}:{settings.get('port', address.port)}"

    def command(self, there: str) -> list[str]:
        """As :class:`Target`; what the user's configuration does in terminals is left aside."""
        settings = {
            "BatchMode": "yes",
            "ConnectTimeout": CONNECT_SECONDS,
            "ServerAliveInterval": ALIVE_SECONDS,
            "ServerAliveCountMax": 3,
            "RemoteCommand": "none",
            "ClearAllForwardings": "yes",
            "PermitLocalCommand": "no",
            "LogLevel": "ERROR",
        }
        if _openssh() >= (8, 7):
            settings |= {"SessionType": "default", "StdinNull": "no", "ForkAfterAuthentication": "no"}
        options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        return ["ssh", "-T", *options, *self._place, there]

    def refusal(self, status: int, complaint: str, python: str) -> Exception:
        """As :class:`Target`."""
        if status != 255:  # ssh's own; any other is of the shell or of Python there
            return EdgeclipError(f"{self.name}: {python} fails there ({_last(complaint)})")
        for words, why in KEYS.items():
            if words in complaint:
                return EdgeclipError(f"{self.name}: {why.format(by_hand=self.by_hand)}")
        if any(words in complaint for words in REFUSALS):
            return EdgeclipError(f"{self.name}: it refuses the login ({_last(complaint)}): try {self.by_hand} first")
        return LinkLost(f"{self.name} does not answer ({_last(complaint)})")

    def close(self) -> None:
        """As :class:`Target`."""


class AdbTarget:
    """The Android debug bridge; Python there is Termux's, by its path in the address."""

    def __init__(self, address: Address) -> None:
        if shutil.which("adb") is None:
            raise EdgeclipError("adb is not installed here, which leads to Android devices: apt install adb")
        self.name, self._serial, self.address = address.host, address.host, address.words
        self.by_hand = f"adb -s {shlex.quote(self._serial)} shell"
        self._started = not _listens()  # its client starts a server where none runs

    def command(self, there: str) -> list[str]:
        """As :class:`Target`."""
        return ["adb", "-s", self._serial, "shell", "-T", there]

    def refusal(self, status: int, complaint: str, python: str) -> Exception:
        """As :class:`Target`."""
        if "not found" in complaint and self._serial in complaint:
            return EdgeclipError(f"adb: no device {self._serial[:SHOWN]}: adb devices lists them")
        return EdgeclipError(f"{self.name}: {python} fails there ({_last(complaint)})")

    def close(self) -> None:
        """As :class:`Target`; the bridge's server goes too, where it was started for this."""
        if self._started:
            with suppress(OSError, subprocess.SubprocessError):
                subprocess.run(["adb", "kill-server"], capture_output=True, timeout=10, check=False)
            self._started = False


def _listens() -> bool:
    port = os.environ.get("ANDROID_ADB_SERVER_PORT", "")
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", int(port) if port.isdigit() else ADB_PORT), timeout=1).close()
        return True
    return False


@lru_cache(maxsize=1)
def _openssh() -> tuple[int, int]:
    """The client's version."""
    version = subprocess.run(["ssh", "-V"], capture_output=True, text=True, errors="replace", check=False).stderr
    numbers = re.search(r"OpenSSH\D*(\d+)\.(\d+)", version)
    return (int(numbers[1]), int(numbers[2])) if numbers else (0, 0)


def _last(complaint: str) -> str:
    """The last line of what a program complained of."""
    return (complaint.strip().splitlines() or ["it gives no reason"])[-1][:300]
