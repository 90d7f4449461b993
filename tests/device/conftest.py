"""A real sshd on a host of its own: a network namespace where root may make one, else the loopback device."""

import getpass
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin")
NAMESPACE, SUBNET = f"edgeclip-{os.getpid()}", "10.203.77"
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
Subsystem sftp internal-sftp
SetEnv PATH={path} XDG_CACHE_HOME={cache} LD_LIBRARY_PATH={libraries}
"""


@dataclass
class Server:
    """An sshd, what it was configured with, and the client's home that knows it."""

    folder: Path
    host: str
    port: int
    prefix: list[str]  # runs a program on the server's side
    process: subprocess.Popen | None = None

    @property
    def address(self):
        """Of the interpreter of these tests, whatever the login shell makes of PATH."""
        return f"ssh://{getpass.getuser()}@{self.host}:{self.port}{sys.executable}"

    @property
    def cache(self):
        return self.folder / "cache/edgeclip"

    def start(self, **changes):
        settings = {"path": f"{Path(sys.executable).parent}:/usr/bin:/bin", "cache": self.folder / "cache"}
        settings |= {"libraries": os.environ.get("LD_LIBRARY_PATH") or "/usr/lib", **changes}
        config = CONFIG.format(folder=self.folder, host=self.host, port=self.port, **settings)
        (self.folder / "sshd_config").write_text(config)
        command = [*self.prefix, SSHD, "-D", "-e", "-f", str(self.folder / "sshd_config")]
        log = (self.folder / "sshd.log").open("a")
        self.process = subprocess.Popen(command, stderr=log, stdout=log)
        log.close()
        deadline = time.monotonic() + 20
        while not (self.folder / "sshd.pid").exists() and time.monotonic() < deadline:
            time.sleep(0.02)

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
        return int((self.folder / "sshd.pid").read_text())


@contextmanager
def _network():
    """A host's address, and the words that run a program there."""
    made = (
        os.geteuid() == 0
        and shutil.which("ip")
        and not subprocess.call(["ip", "netns", "add", NAMESPACE], stderr=subprocess.DEVNULL)
    )
    if not made:
        yield "127.0.0.1", []
        return
    inside, outside = f"ec{os.getpid() % 100000}i", f"ec{os.getpid() % 100000}o"
    try:
        for words in (
            f"link add {outside} type veth peer name {inside} netns {NAMESPACE}",
            f"addr add {SUBNET}.1/30 dev {outside}",
            f"link set {outside} up",
            f"-n {NAMESPACE} addr add {SUBNET}.2/30 dev {inside}",
            f"-n {NAMESPACE} link set {inside} up",
            f"-n {NAMESPACE} link set lo up",
        ):
            subprocess.run(["ip", *words.split()], check=True, capture_output=True)
        yield f"{SUBNET}.2", ["ip", "netns", "exec", NAMESPACE]
    except subprocess.CalledProcessError:
        yield "127.0.0.1", []
    finally:
        subprocess.run(["ip", "netns", "del", NAMESPACE], check=False, capture_output=True)


@pytest.fixture(scope="session")
def network():
    if not SSHD or not shutil.which("ssh-keygen"):
        pytest.skip("no sshd here: apt-get install openssh-server")
    with _network() as found:
        yield found


@pytest.fixture
def server(network, tmp_path, monkeypatch):
    """Started, trusted, and open to this test's key."""
    host, prefix = network
    Path("/run/sshd").mkdir(exist_ok=True) if os.geteuid() == 0 else None
    home = tmp_path / "home/.ssh"
    home.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home.parent))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    found = Server(tmp_path, host, 20000 + os.getpid() % 20000, prefix)
    for key in (tmp_path / "host_key", home / "id_ed25519"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    shutil.copy(home / "id_ed25519.pub", tmp_path / "authorized_keys")
    public = (tmp_path / "host_key.pub").read_text().split()
    (home / "known_hosts").write_text(f"[{host}]:{found.port} {public[0]} {public[1]}\n")
    found.start()
    yield found
    found.stop()
