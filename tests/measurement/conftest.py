"""A real sshd on the loopback device, at a port that was free; and a device that is played, with what it is asked."""

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgeclip.measurement import remote, session
from edgeclip.measurement.bench import Plan
from edgeclip.measurement.job import give_bundle
from edgeclip.runtime.towerjob import RuntimeOptions, TowerJob
from edgeclip.runtime.turns import WORKER

from .playedlink import PlayedLink

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin")
HOST = "127.0.0.1"
TRIES = 5  # to find a port that nobody takes between its choice and its use
CONFIG = """
Port {port}
ListenAddress {host}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile {folder}/sshd.pid
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
SetEnv PATH={path} XDG_CACHE_HOME={cache} LD_LIBRARY_PATH={libraries} PYTHONPATH={folder}/packages
"""


@dataclass
class Server:
    """An sshd, what it was configured with, and the client's configuration, which knows it."""

    folder: Path
    port: int = 0
    process: subprocess.Popen | None = None

    @property
    def address(self):
        """Of the interpreter of these tests, whatever the login shell makes of PATH."""
        return f"ssh://{getpass.getuser()}@{HOST}:{self.port}{sys.executable}"

    @property
    def cache(self):
        return self.folder / "cache/edgeclip"

    @property
    def config(self):
        """Of the client: what a user's ~/.ssh/config holds."""
        return self.folder / "home/.ssh/config"

    @property
    def known_hosts(self):
        return self.folder / "home/.ssh/known_hosts"

    def start(self, more="", **changes):
        """Start it, and wait until it listens; False if it ended instead."""
        settings = {"path": f"{Path(sys.executable).parent}:/usr/bin:/bin", "cache": self.folder / "cache"}
        settings |= {"libraries": os.environ.get("LD_LIBRARY_PATH") or "/usr/lib", **changes}
        config = CONFIG.format(folder=self.folder, host=HOST, port=self.port, **settings) + more
        (self.folder / "sshd_config").write_text(config)
        with (self.folder / "sshd.log").open("a") as log:
            command = [SSHD, "-D", "-e", "-f", str(self.folder / "sshd_config")]
            self.process = subprocess.Popen(command, stderr=log, stdout=log)
        while not self._told_pid:  # the file is there before its content
            if self.process.poll() is not None:
                self.process = None
                return False
            time.sleep(0.02)
        return True

    def stop(self):
        if self.process:
            self.cut()
            self.process.terminate()
            self.process.wait()
            (self.folder / "sshd.pid").unlink(missing_ok=True)
            self.process = None

    def cut(self):
        """End every connection that is open, as a broken line would; a job of a session of its own goes on."""
        children = subprocess.run(["pgrep", "-P", str(self.listener)], capture_output=True, text=True).stdout.split()
        for child in children:
            subprocess.run(["kill", "-9", child], check=False, stderr=subprocess.DEVNULL)
        return len(children)

    @property
    def listener(self):
        return int(self._told_pid)

    @property
    def _told_pid(self):
        file = self.folder / "sshd.pid"
        text = file.read_text() if file.exists() else ""
        return text.strip() if text.endswith("\n") else ""


def free_port():
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def _client(folder, monkeypatch):
    """OpenSSH's client looks for its files in the home that the system names: ``-F`` gives it this test's."""
    home = folder / "home/.ssh"
    lines = (
        f"UserKnownHostsFile {home}/known_hosts",
        "GlobalKnownHostsFile /dev/null",
        f"IdentityFile {home}/id_ed25519",
    )
    (home / "config").write_text("\n".join(lines) + "\n")
    programs = folder / "programs"
    programs.mkdir()
    (programs / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {home}/config "$@"\n')
    (programs / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Started, trusted, and open to this test's key."""
    if not SSHD or not shutil.which("ssh-keygen"):
        missing = "no sshd here: apt-get install openssh-server"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    home = tmp_path / "home/.ssh"
    home.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home.parent))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    for key in (tmp_path / "host_key", home / "id_ed25519"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    shutil.copy(home / "id_ed25519.pub", tmp_path / "authorized_keys")
    public = (tmp_path / "host_key.pub").read_text().split()
    found = Server(tmp_path)
    _client(tmp_path, monkeypatch)
    for _ in range(TRIES):
        found.port = free_port()
        (home / "known_hosts").write_text(f"[{HOST}]:{found.port} {public[0]} {public[1]}\n")
        if found.start():
            break
    else:
        pytest.fail(f"sshd does not start: {(tmp_path / 'sshd.log').read_text()}")
    yield found
    found.stop()


@pytest.fixture
def link(monkeypatch, tmp_path):
    """The device that every address leads to; its files lie under ``tmp_path / "there"``."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "there"))
    device = PlayedLink()
    device.connected = []

    def connect(address):
        device.connected.append(address)
        device._breaks()
        return device

    monkeypatch.setattr(session, "connect", connect)
    monkeypatch.setattr(session, "WAIT_SECONDS", 0.001)
    monkeypatch.setattr(remote, "WAIT_SECONDS", 0.001)
    return device


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def plan(bundle, images_dir, tmp_path):
    graph = str(bundle.path / "image.fp32.onnx")
    (tmp_path / "weights.bin").write_bytes(b"weights")
    jobs = {"one": TowerJob(graph, threads=1), "two": TowerJob(graph, str(tmp_path / "weights.bin"), threads=1)}
    images = [str(path) for path in sorted(images_dir.iterdir())[:3]]
    return Plan(towers=jobs, focus="two", reference=TowerJob(str(bundle.path / "text.fp32.onnx")), images=images)


@pytest.fixture(scope="module")
def given(bundle, tmp_path_factory):
    """What this machine gives for the bundle's recorded inputs, and the files."""
    folder = tmp_path_factory.mktemp("given")
    return give_bundle(bundle.path, WORKER, folder, RuntimeOptions()), folder
