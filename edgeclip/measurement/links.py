"""A way to a device: run a program there, write and read its files. SSH by fabric; Android's bridge by adbutils."""

from __future__ import annotations

import shlex
import socket
import time
from contextlib import closing, suppress
from pathlib import Path, PurePosixPath
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from ..base.errors import EdgeclipError, require

BLOCK = 1 << 18
EXAMPLES = ("ssh://pi@raspberry.local:22", "adb://SERIAL")
SHOWN = 100  # characters of an address that is none
LONGEST_HOST = 253  # RFC 1035
LARGEST, ANSWER_BYTES = 256 << 20, 4 << 20  # of a file that is read, of what a program writes
CONNECT_SECONDS, ANSWER_SECONDS = 15.0, 180.0


class LinkLost(Exception):
    """The connection is gone; a new one may be made."""


class Link(Protocol):
    """One connection. Every method may raise :class:`LinkLost`."""

    name: str
    python: str  # the interpreter there

    def run(self, words: list[str]) -> tuple[int, str, str]:
        """Run a program, each word as it is: exit status, stdout, stderr."""
        ...

    def append(self, local: Path, remote: str, start: int) -> None:
        """Write ``local`` from byte ``start`` on to the end of ``remote``.

        Raises:
            OSError: the device refused: it is full, for one.
        """
        ...

    def read(self, remote: str, start: int = 0, most: int = LARGEST) -> bytes:
        """What ``remote`` holds from byte ``start`` on; empty where there is no such file yet.

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
        MissingExtra: the package for it is not installed.
        EdgeclipError: the address is not one, or the device refuses: its host key, the user's key, its being off.
        LinkLost: nobody answers.
    """
    try:
        parts = urlsplit(address)
        port, secret, host = parts.port, parts.password, parts.hostname or ""
    except ValueError as error:
        raise EdgeclipError(f"{address[:SHOWN]}: not an address ({error}): as in {EXAMPLES[0]}") from None
    if secret is not None:
        raise EdgeclipError(
            "a password in an address can be read by others: leave it out, and log in by a key, as ssh does"
        )
    if port == 0 or len(host) > LONGEST_HOST:
        what = "port 0" if port == 0 else f"a host's name of {len(host)} characters"
        raise EdgeclipError(f"{address[:SHOWN]}: {what} reaches nothing: as in {EXAMPLES[0]}")
    python = unquote(parts.path) if parts.path not in ("", "/") else "python3"
    if parts.scheme == "ssh" and host:
        require("fabric", "remote")
        return SshLink(host, parts.username, port, python)
    if parts.scheme == "adb" and parts.netloc:
        require("adbutils", "remote")
        return AdbLink(unquote(parts.netloc), python)
    raise EdgeclipError(f"{address[:SHOWN]}: not an address: as in {' or '.join(EXAMPLES)}")


class SshLink:
    """SSH, with the user's own keys, agent and ``~/.ssh/config``; a host whose key is not known is refused."""

    def __init__(self, host: str, user: str | None, port: int | None, python: str) -> None:
        from fabric import Connection
        from paramiko import AuthenticationException, BadHostKeyException, RejectPolicy, SSHException

        self.python = python
        self._connection: Any = Connection(host, user=user, port=port, connect_timeout=CONNECT_SECONDS)
        self.name = f"{self._connection.user}@{host}:{self._connection.port}"
        client = self._connection.client
        client.load_system_host_keys()
        client.set_missing_host_key_policy(RejectPolicy())  # fabric's own default takes any
        try:
            self._connection.open()
        except BadHostKeyException:
            raise EdgeclipError(f"{self.name}: its host key is NOT the known one: another machine may answer") from None
        except AuthenticationException as error:
            raise EdgeclipError(f"{self.name}: it refuses the login ({error}): try ssh {host} first") from None
        except SSHException as error:
            if "not found in known_hosts" not in str(error):
                raise LinkLost(f"{self.name}: {error}") from error
            raise EdgeclipError(
                f"{self.name}: its host key is not known: run ssh {host}, check the key and accept it"
            ) from None
        except OSError as error:
            raise LinkLost(f"{self.name} does not answer ({error})") from error
        self._connection.transport.set_keepalive(5)
        self._files: Any = None

    def run(self, words: list[str]) -> tuple[int, str, str]:
        """As :class:`Link`; the device's shell gets every word quoted."""
        with _lost(self.name):
            channel = self._connection.transport.open_session(timeout=CONNECT_SECONDS)
            with closing(channel):
                channel.exec_command(shlex.join(words))
                out, complaint = _listen(self.name, channel)
                if (status := channel.recv_exit_status()) < 0:
                    raise EOFError("it went away while a program ran")
            return status, out.decode(errors="replace"), complaint.decode(errors="replace")

    def append(self, local: Path, remote: str, start: int) -> None:
        """As :class:`Link`."""
        with _lost(self.name), local.open("rb") as source, self._sftp().open(remote, "ab") as target:
            target.set_pipelined(True)
            source.seek(start)
            while block := source.read(BLOCK):
                target.write(block)

    def read(self, remote: str, start: int = 0, most: int = LARGEST) -> bytes:
        """As :class:`Link`."""
        with _lost(self.name):
            try:
                with self._sftp().open(remote, "rb") as file:
                    size = file.stat().st_size or 0
                    _refuse_larger(self.name, remote, size, most)
                    file.seek(start)
                    if size - start > BLOCK:
                        file.prefetch(size)
                    return file.read(max(0, size - start))
            except FileNotFoundError:
                return b""

    def close(self) -> None:
        """As :class:`Link`."""
        self._connection.close()

    def _sftp(self) -> Any:
        if self._files is None:
            self._files = self._connection.sftp()
            self._files.get_channel().settimeout(CONNECT_SECONDS)
        return self._files


class AdbLink:
    """The Android debug bridge; Python there is Termux's, by its path in the address."""

    def __init__(self, serial: str, python: str) -> None:
        from adbutils import AdbError, adb

        self.python, self.name = python, serial
        self._adb, self._started = adb, not _listens(adb.host, adb.port)  # it starts a server where none runs
        try:
            self._device: Any = adb.device(serial)
            self._device.get_state()
        except (AdbError, OSError) as error:
            self.close()
            raise EdgeclipError(f"adb: no device {serial[:SHOWN]} ({error}): adb devices lists them") from None

    def run(self, words: list[str]) -> tuple[int, str, str]:
        """As :class:`Link`; what goes to stderr comes back with stdout, as the bridge has it."""
        with _lost(self.name):
            done = self._device.shell2(shlex.join(words))
            _refuse_larger(self.name, "its answer", len(done.output), ANSWER_BYTES)
            return done.returncode, done.output, done.output

    def append(self, local: Path, remote: str, start: int) -> None:
        """As :class:`Link`; the bridge writes whole files alone, so it starts again at the beginning."""
        with _lost(self.name):
            self._device.sync.push(str(local), remote)

    def read(self, remote: str, start: int = 0, most: int = LARGEST) -> bytes:
        """As :class:`Link`."""
        with _lost(self.name):
            if self._device.shell2(shlex.join(["test", "-f", remote])).returncode:
                return b""
            content = self._device.sync.read_bytes(remote)
            _refuse_larger(self.name, remote, len(content), most)
            return content[start:]

    def close(self) -> None:
        """As :class:`Link`; the bridge's server goes too, where it was started for this."""
        if self._started:
            with suppress(Exception):
                self._adb.server_kill()
            self._started = False


def _listens(host: str, port: int) -> bool:
    with suppress(OSError):
        socket.create_connection((host, port), timeout=1).close()
        return True
    return False


def _listen(name: str, channel: Any) -> tuple[bytes, bytes]:
    """What a program writes to stdout and stderr until it ends.

    Raises:
        EdgeclipError: it writes more than any answer is long, or is silent for too long.
        EOFError: the connection is gone.
    """
    out, complaint = bytearray(), bytearray()
    streams = ((channel.recv_ready, channel.recv, out), (channel.recv_stderr_ready, channel.recv_stderr, complaint))
    heard = time.monotonic()
    while True:
        for ready, receive, kept in streams:
            while ready():
                kept += receive(BLOCK)
                heard = time.monotonic()
                _refuse_larger(name, "its answer", len(kept), ANSWER_BYTES)
        if channel.exit_status_ready() and (channel.eof_received or channel.closed):
            if not any(ready() for ready, _, _ in streams):
                return bytes(out), bytes(complaint)
        elif not channel.transport.is_active():
            raise EOFError("the connection is gone")
        elif time.monotonic() - heard > ANSWER_SECONDS:
            raise EdgeclipError(f"{name}: a program there printed nothing for {ANSWER_SECONDS:.0f} s and did not end")
        time.sleep(0.005)


def _refuse_larger(name: str, what: str, size: int, most: int) -> None:
    if size > most:
        raise EdgeclipError(f"{name}: {what} has {size:,} bytes, {most:,} at most are read: is it another's?")


class _lost:
    """Turn what connections die of into LinkLost; what the device's own file system says stays an OSError."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: object) -> None:
        if error is None or kind is None:
            return
        packages = {base.__module__.partition(".")[0] for base in kind.__mro__}
        if packages & {"paramiko", "invoke", "adbutils"} or isinstance(
            error, (EOFError, ConnectionError, TimeoutError)
        ):
            raise LinkLost(f"{self._name}: {error or kind.__name__}") from error
        if isinstance(error, OSError) and str(error) == "Socket is closed":
            raise LinkLost(f"{self._name}: {error}") from error


def join(*parts: str) -> str:
    """A path on the device."""
    return str(PurePosixPath(*parts))
