"""How long do verify and measure take on a device that is 20 ms away, and how often do they log in?

    python benchmarks/remote_link.py --bundle runs/demo/bundle [--other PYTHON] [--rounds 5]

An sshd of its own on this machine is the device; a proxy holds every packet back for half of 20 ms. ``--other`` is the
interpreter of another installation of edgeclip, whose commands run in turns with these. ``cold``: the bundle is copied
first; ``warm``: it is there already.
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import results

ROUND_TRIP = 0.02  # seconds
CONFIG = """Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/home/.ssh/id_ed25519.pub
PidFile {folder}/sshd.pid
StrictModes no
UsePAM no
PermitRootLogin yes
Subsystem sftp internal-sftp
SetEnv PATH={path} XDG_CACHE_HOME={folder}/cache
"""


def free_port() -> int:
    """One that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def pipe(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """What arrives goes on after half of a round trip, in its order."""
    loop = asyncio.get_running_loop()
    while block := await source.read(1 << 16):
        loop.call_later(ROUND_TRIP / 2, target.write, block)
    loop.call_later(ROUND_TRIP / 2, target.close)


async def serve(port: int, to: int) -> None:
    """The proxy."""

    async def connected(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        there_source, there_target = await asyncio.open_connection("127.0.0.1", to)
        await asyncio.gather(pipe(source, there_target), pipe(there_source, target))

    async with await asyncio.start_server(connected, "127.0.0.1", port) as server:
        await server.serve_forever()


def prepare(folder: Path, port: int, proxy: int) -> subprocess.Popen[bytes]:
    """Keys, configurations and the server; the client's ssh is told of them by a program in its PATH."""
    home = folder / "home/.ssh"
    home.mkdir(parents=True)
    for key in (folder / "host_key", home / "id_ed25519"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    kind, public, *_ = (folder / "host_key.pub").read_text().split()
    (home / "known_hosts").write_text(f"[127.0.0.1]:{proxy} {kind} {public}\n")
    (home / "config").write_text(f"UserKnownHostsFile {home}/known_hosts\nIdentityFile {home}/id_ed25519\n")
    (folder / "programs").mkdir()
    (folder / "programs/ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {home}/config "$@"\n')
    (folder / "programs/ssh").chmod(0o755)
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    (folder / "sshd_config").write_text(CONFIG.format(port=port, folder=folder, path=path))
    Path("/run/sshd").mkdir(exist_ok=True)
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    assert sshd, "no sshd here: apt-get install openssh-server"
    log = (folder / "sshd.log").open("wb")
    server = subprocess.Popen([sshd, "-D", "-e", "-f", str(folder / "sshd_config")], stdout=log, stderr=log)
    while not (folder / "sshd.pid").exists():
        assert server.poll() is None, (folder / "sshd.log").read_text()
        time.sleep(0.02)
    return server


def timed(python: str, words: list[str], folder: Path) -> float:
    """Seconds that a command takes."""
    environment = {**os.environ, "HOME": str(folder / "home"), "PATH": f"{folder}/programs:{os.environ['PATH']}"}
    start = time.perf_counter()
    subprocess.run([python, "-m", "edgeclip", *words], env=environment, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Run both in turns, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--other", help="interpreter of another edgeclip")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    pythons = {"this": sys.executable, **({"other": options.other} if options.other else {})}
    commands = {"verify": [], "measure": ["--seconds", "2"]}
    seconds: dict[str, list[float]] = {}
    logins: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as place:
        folder, port, proxy = Path(place), free_port(), free_port()
        server = prepare(folder, port, proxy)
        threading.Thread(target=lambda: asyncio.run(serve(proxy, port)), daemon=True).start()
        address = f"ssh://{getpass.getuser()}@127.0.0.1:{proxy}{sys.executable}"
        for _ in range(options.rounds):
            for command, more in commands.items():
                for state in ("cold", "warm"):
                    for name, python in pythons.items():
                        if state == "cold":
                            shutil.rmtree(folder / "cache", ignore_errors=True)
                        words = [command, str(options.bundle.absolute()), "--device", address, *more]
                        before = (folder / "sshd.log").read_text().count("Accepted publickey")
                        took = timed(python, words, folder)
                        key = f"{command} {state} {name}"
                        seconds.setdefault(key, []).append(round(took, 2))
                        logins[key] = (folder / "sshd.log").read_text().count("Accepted publickey") - before
        server.terminate()
    medians = {key: round(statistics.median(values), 2) for key, values in seconds.items()}
    for key, value in medians.items():
        print(f"{key:22} {value:6.2f} s, {logins[key]} login(s)")
    results.save(
        "remote_link", {"round_trip_ms": 1e3 * ROUND_TRIP, "seconds": seconds, "medians": medians, "logins": logins}
    )


if __name__ == "__main__":
    main()
