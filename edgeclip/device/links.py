"""A way to a device: run a program there, write and read its files. SSH by fabric; Android's bridge by adbutils."""

from __future__ import annotations

import shlex
from pathlib import Path, PurePosixPath
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from ..errors import EdgeclipError, require

BLOCK = 1 << 18
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

    def read(self, remote: str, start: int = 0) -> bytes:
        """What ``remote`` holds from byte ``start`` on; empty where there is no such file yet."""
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
        port = parts.port
    except ValueError as error:
        raise EdgeclipError(f"{address}: not an address ({error}): as in ssh://pi@raspberry.local:22") from None
    python = unquote(parts.path) if parts.path not in ("", "/") else "python3"
    if parts.scheme == "ssh" and parts.hostname:
        require("fabric", "remote")
        return SshLink(parts.hostname, parts.username, port, python)
    if parts.scheme == "adb" and parts.netloc:
        require("adbutils", "remote")
        return AdbLink(unquote(parts.netloc), python)
    raise EdgeclipError(f"{address}: not an address: as in ssh://pi@raspberry.local:22 or adb://SERIAL")


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
                f"{self.name}: its host key is not known: compare it, and let ssh {host} add it to known_hosts"
            ) from None
        except OSError as error:
            raise LinkLost(f"{self.name} does not answer ({error})") from error
        self._connection.transport.set_keepalive(5)
        self._files: Any = None

    def run(self, words: list[str]) -> tuple[int, str, str]:
        """As :class:`Link`; the device's shell gets every word quoted."""
        with _lost(self.name):
            done = self._connection.run(
                shlex.join(words), hide=True, warn=True, in_stream=False, timeout=ANSWER_SECONDS
            )
            if done.exited < 0:
                raise EOFError("it went away while a program ran")
            return done.exited, done.stdout, done.stderr

    def append(self, local: Path, remote: str, start: int) -> None:
        """As :class:`Link`."""
        with _lost(self.name), local.open("rb") as source, self._sftp().open(remote, "ab") as target:
            target.set_pipelined(True)
            source.seek(start)
            while block := source.read(BLOCK):
                target.write(block)

    def read(self, remote: str, start: int = 0) -> bytes:
        """As :class:`Link`."""
        with _lost(self.name):
            try:
                with self._sftp().open(remote, "rb") as file:
                    size = file.stat().st_size or 0
                    file.seek(start)
                    if size - start > BLOCK:
                        file.prefetch(size)
                    return file.read()
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
        try:
            self._device: Any = adb.device(serial)
            self._device.get_state()
        except (AdbError, OSError) as error:
            raise EdgeclipError(f"adb: no device {serial} ({error}): adb devices lists them") from None

    def run(self, words: list[str]) -> tuple[int, str, str]:
        """As :class:`Link`; what goes to stderr comes back with stdout, as the bridge has it."""
        with _lost(self.name):
            done = self._device.shell2(shlex.join(words))
            return done.returncode, done.output, done.output

    def append(self, local: Path, remote: str, start: int) -> None:
        """As :class:`Link`; the bridge writes whole files alone, so it starts again at the beginning."""
        with _lost(self.name):
            self._device.sync.push(str(local), remote)

    def read(self, remote: str, start: int = 0) -> bytes:
        """As :class:`Link`."""
        with _lost(self.name):
            if self._device.shell2(shlex.join(["test", "-f", remote])).returncode:
                return b""
            return self._device.sync.read_bytes(remote)[start:]

    def close(self) -> None:
        """As :class:`Link`."""


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
