"""Files from web servers: fetched once, whole or not at all."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from .console import say
from .errors import EdgeclipError
from .files import mendable
from .scratch import neighbour

PORTS = {"http": 80, "https": 443}
PATIENCE = 5  # seconds for a server to answer at all
SECONDS = 60  # without a byte from the server
ABSENT = (404, 410)


def unreachable(url: str) -> str:
    """Why the server of ``url`` cannot be asked; nothing where it can, or where a proxy would know.

    A hub's client tries for a minute before it says so.
    """
    address = urlsplit(url)
    if urllib.request.getproxies().get(address.scheme):
        return ""
    try:
        place = (address.hostname or "", address.port or PORTS[address.scheme])
        socket.create_connection(place, timeout=PATIENCE).close()
    except OSError as error:
        return f"{address.hostname} cannot be reached ({error.strerror or error})"
    return ""


def fetch(url: str, target: Path) -> bool:
    """Download ``url`` to ``target``, unless it is there. False where the server has no such file.

    Raises:
        EdgeclipError: the server cannot be reached, refuses, or stops in the middle.
    """
    if target.is_file():
        return True
    say(f"fetching {url}")
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as answer, mendable(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = neighbour(target)
            try:
                with os.fdopen(handle, "wb") as file:
                    shutil.copyfileobj(answer, file, 1 << 20)
                    came, length = file.tell(), (answer.headers.get("Content-Length") or "").strip()
                if length.isdecimal() and int(length) != came:  # what is no number tells nothing
                    raise EdgeclipError(f"{url}: {came} of {length} bytes came: run again")
                temporary.replace(target)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
    except urllib.error.HTTPError as error:
        if error.code in ABSENT:
            return False
        raise EdgeclipError(f"{url}: the server answers {error.code} {error.reason}") from error
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ValueError) as error:
        raise EdgeclipError(f"{url}: cannot be fetched ({getattr(error, 'reason', error)})") from error
    return True
