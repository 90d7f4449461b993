"""The user's own ssh: in every situation the device is reached, or refused, as ssh itself does it."""

import getpass
import os
import pwd
import shutil
import socket
import subprocess
import sys

import pytest

from edgeclip.base.errors import EdgeclipError
from edgeclip.measurement.remote import open_remote

from .conftest import HOST, SSHD, Server, free_port

USER = getpass.getuser()


def reached(address):
    """Whether a device is reached; the line where it is not."""
    try:
        with open_remote(address) as machine:
            assert machine.name
    except EdgeclipError as error:
        line = str(error)
        assert "\n" not in line and len(line) < 700
        return line
    return None


def ssh_reaches(*words):
    """Whether ssh itself does, asking for nothing."""
    command = ["ssh", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15", *words, "true"]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60).returncode == 0


def public(file):
    kind, key, *_ = file.read_text().split()
    return f"{kind} {key}"


def keygen(*words):
    subprocess.run(["ssh-keygen", "-q", *map(str, words)], check=True, capture_output=True)


@pytest.fixture
def config(server):
    """Puts lines before the configuration, ``board`` being the server: a keyword's first value counts."""
    base = server.config.read_text()

    def put(*lines, board=True):
        named = f"Host board\n  HostName {HOST}\n  Port {server.port}\n" if board else ""
        server.config.write_text("\n".join([*lines, named, "Match all", base]) + "\n")

    put()
    return put


def test_a_name_of_the_configuration(config, server):
    assert reached(f"ssh://board{sys.executable}") is None
    with open_remote(f"ssh://board{sys.executable}") as machine:
        assert machine.name == f"{USER}@board:{server.port}"


def known(server, line, name=None):
    """Lines of known_hosts, the server's own among them, unless ``line`` takes its place."""
    server.known_hosts.write_bytes(line if name is None else line + server.known_hosts.read_bytes())


SITUATIONS = {
    "as it is": lambda s: [],
    "a name in capitals": lambda s: ["Host BOARD", "  User nobody"],
    "another user": lambda s: ["Host board", "  User nobody-here"],
    "another port": lambda s: ["Host board", f"  Port {free_port()}"],
    "included": lambda s: [f"Include {written(s.folder / 'more', 'ConnectTimeout 7')}"],
    "included is absent": lambda s: [f"Include {s.folder}/nothing"],
    "known elsewhere": lambda s: [f"UserKnownHostsFile {moved(s)}"],
    "known nowhere": lambda s: ["UserKnownHostsFile /dev/null"],
    "known nowhere, and no check": lambda s: ["UserKnownHostsFile /dev/null", "StrictHostKeyChecking no"],
    "new ones accepted": lambda s: [f"UserKnownHostsFile {s.folder}/new", "StrictHostKeyChecking accept-new"],
    "known by an alias": lambda s: ["HostKeyAlias the-board", aliased(s)],
    "known hashed": lambda s: [hashed(s)],
    "no key": lambda s: ["IdentityFile none", "IdentitiesOnly yes"],
    "an absent key": lambda s: [f"IdentityFile {s.folder}/absent"],
    "a key that is not a key": lambda s: [f"IdentityFile {written(s.folder / 'junk', 'junk')}"],
    "an unknown option": lambda s: ["SshIsGreat yes"],
    "an unknown option that is to be ignored": lambda s: ["IgnoreUnknown UseKeychain", "UseKeychain yes"],
    "half a line": lambda s: ["Port"],
    "a match that holds": lambda s: ['Match exec "true"', "  ConnectTimeout 7"],
    "a match that changes the user": lambda s: ['Match exec "true"', "  User nobody-here"],
    "a match that holds not": lambda s: ['Match exec "false"', "  User nobody-here"],
    "a match of newer versions": lambda s: ["Match localnetwork 127.0.0.0/8", "  User nobody-here"],
    "a tag of newer versions": lambda s: ["Match tagged x", "  User nobody-here"],
    "no jump": lambda s: ["ProxyJump none"],
    "a command for a proxy": lambda s: [f"ProxyCommand {sys.executable} {written(s.folder / 'pipe.py', PIPE)} %h %p"],
    "a command for a proxy that fails": lambda s: ["ProxyCommand false"],
    "a terminal": lambda s: ["RequestTTY force"],
    "forwards": lambda s: [f"LocalForward {free_port()} localhost:1"],
    "a master of the user's": lambda s: ["ControlMaster auto", f"ControlPath {s.folder}/m", "ControlPersist 3"],
    "another's authority": lambda s: [
        line_before(s, f"@cert-authority *.example.org {public(s.folder / 'host_key.pub')}")
    ],
    "another's revoked key": lambda s: [line_before(s, f"@revoked other.example.org {public(other(s))}")],
    "its own revoked key": lambda s: [line_before(s, f"@revoked * {public(s.folder / 'host_key.pub')}")],
    "a cut line": lambda s: [line_before(s, "other.example.org ssh-ed255")],
    "a line that is not UTF-8": lambda s: [line_before(s, "caf\udce9.example.org ssh-rsa AAAA")],
    "another's key": lambda s: [line_before(s, f"other.example.org {public(other(s))}")],
    "a certificate of the host's": lambda s: [certified(s)],
    "compression and ciphers": lambda s: ["Compression yes", "Ciphers aes256-ctr"],
    "no ciphers in common": lambda s: ["Ciphers 3des-cbc"],
    "no agent": lambda s: [f"IdentityAgent {s.folder}/none"],
}
PIPE = """
import socket, sys, threading
there = socket.create_connection((sys.argv[1], int(sys.argv[2])))
def out():
    while block := there.recv(65536):
        sys.stdout.buffer.write(block); sys.stdout.buffer.flush()
threading.Thread(target=out, daemon=True).start()
while block := sys.stdin.buffer.raw.read(65536):
    there.sendall(block)
"""


def written(file, text):
    file.write_text(text + "\n")
    return file


def moved(server):
    return shutil.move(server.known_hosts, server.folder / "elsewhere")


def aliased(server):
    server.known_hosts.write_text(f"the-board {public(server.folder / 'host_key.pub')}\n")
    return ""


def hashed(server):
    keygen("-H", "-f", server.known_hosts)
    return ""


def other(server):
    if not (server.folder / "other").exists():
        keygen("-t", "ed25519", "-N", "", "-f", server.folder / "other")
    return server.folder / "other.pub"


def line_before(server, line):
    before = server.known_hosts.read_bytes()
    server.known_hosts.write_bytes(os.fsencode(line) + b"\n" + before)
    return ""


def certified(server):
    """The server shows a certificate of an authority that is known, and its own key is not."""
    authority = other(server)
    keygen("-s", authority.with_suffix(""), "-h", "-I", "board", "-n", HOST, server.folder / "host_key.pub")
    server.stop()
    assert server.start(f"HostCertificate {server.folder}/host_key-cert.pub\n")
    server.known_hosts.write_text(f"@cert-authority * {public(authority)}\n")
    return ""


@pytest.mark.parametrize("name", SITUATIONS)
def test_the_same_answer_as_ssh(name, server, config):
    config(*SITUATIONS[name](server))
    line = reached(f"ssh://board{sys.executable}")
    assert (line is None) == ssh_reaches("board"), line
    if line is not None:
        assert "board" in line


def test_what_is_for_terminals_alone_does_no_harm(server, config):
    """ssh itself refuses to run a command where one is configured: ours runs."""
    config("Host board", "  RemoteCommand echo hello")
    assert not ssh_reaches("board")
    assert reached(f"ssh://board{sys.executable}") is None


def test_a_forward_that_is_taken_already_is_left_out(server, config):
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        config(f"LocalForward {taken.getsockname()[1]} localhost:1", "ExitOnForwardFailure yes")
        assert reached(f"ssh://board{sys.executable}") is None


@pytest.fixture
def agent(monkeypatch, server):
    """An agent that holds the key, which lies nowhere else any more."""
    socket_file = server.folder / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket_file)], stdout=subprocess.DEVNULL)
    while not socket_file.exists():
        assert process.poll() is None
    monkeypatch.setenv("SSH_AUTH_SOCK", str(socket_file))
    key = server.folder / "home/.ssh/id_ed25519"
    subprocess.run(["ssh-add", "-q", str(key)], check=True, capture_output=True)
    key.unlink()
    yield
    process.terminate()
    process.wait()


@pytest.mark.parametrize("lines", [(), ("IdentitiesOnly yes",), ("IdentitiesOnly yes", "IdentityFile none")])
def test_a_key_that_an_agent_holds(server, config, agent, lines):
    config(*lines)
    assert (reached(f"ssh://board{sys.executable}") is None) == ssh_reaches("board")


@pytest.fixture
def jump(server, tmp_path_factory):
    """A second server, through which the first is reached."""
    folder = tmp_path_factory.mktemp("jump")
    keygen("-t", "ed25519", "-N", "", "-f", folder / "host_key")
    shutil.copy(server.folder / "authorized_keys", folder)
    found = Server(folder)
    while True:
        found.port = free_port()
        if found.start():
            break
    yield found
    found.stop()


@pytest.mark.parametrize("key", ["known", "unknown", "changed"])
def test_the_key_of_a_jump_host_is_checked_like_any_other(server, config, jump, key):
    shown = {"known": jump.folder / "host_key.pub", "changed": other(server)}.get(key)
    line_before(server, f"[{HOST}]:{jump.port} {public(shown)}" if shown else "")
    config("Host board", f"  ProxyJump {HOST}:{jump.port}")
    # ssh gives a jump none of its own -F's choices but the file itself
    line = reached(f"ssh://board{sys.executable}")
    assert (line is None) == ssh_reaches("board") == (key == "known"), line


NOISE = {
    "a greeting": "echo 'Welcome to \x1b[1mboard\x1b[0m'; eval \"$SSH_ORIGINAL_COMMAND\"",
    "a novel": "yes 'It was a dark night.' | head -n 5000; eval \"$SSH_ORIGINAL_COMMAND\"",
    "a word without an end": "printf 'motd: '; eval \"$SSH_ORIGINAL_COMMAND\"",
    "an exit trap": "trap 'echo good bye' EXIT; eval \"$SSH_ORIGINAL_COMMAND\"",
    "complaints": "echo 'bash: warning: setlocale' >&2; eval \"$SSH_ORIGINAL_COMMAND\"",
}


@pytest.mark.parametrize("name", NOISE)
def test_what_a_login_shell_prints_does_no_harm(name, server, bundle):
    server.stop()
    script = written(server.folder / "shell.sh", NOISE[name])
    assert server.start(f"ForceCommand sh {script}\n")
    assert reached(server.address) is None


@pytest.mark.parametrize("shell", ["tcsh", "fish", "zsh", "dash"])
def test_whatever_the_login_shell_is(shell, server):
    if not shutil.which(shell):
        pytest.skip(f"no {shell} here")
    server.stop()
    assert server.start(f'ForceCommand {shutil.which(shell)} -c "$SSH_ORIGINAL_COMMAND"\n')
    assert reached(server.address) is None


def test_a_banner_does_no_harm(server):
    server.stop()
    assert server.start(f"Banner {written(server.folder / 'banner', 'Authorised use only')}\n")
    assert reached(server.address) is None


def test_a_shell_that_lets_nobody_in(server):
    server.stop()
    assert server.start("ForceCommand echo 'This account is currently not available.'; exit 1\n")
    assert "fails there" in reached(server.address)


def test_no_ssh_here(server, monkeypatch, tmp_path):
    with monkeypatch.context() as bare:
        bare.setenv("PATH", str(tmp_path))
        assert "ssh is not installed here" in reached(server.address)


def test_one_authentication_in_all(server, bundle):
    with open_remote(server.address) as machine:
        machine.verify(bundle.path)
    log = (server.folder / "sshd.log").read_text()
    assert log.count("Accepted publickey") == 1


def test_a_python_below_the_home_there(server):
    below = os.path.relpath(sys.executable, pwd.getpwuid(os.getuid()).pw_dir)  # of the login there, not of $HOME here
    assert reached(f"ssh://{USER}@{HOST}:{server.port}/~/{below}") is None


@pytest.mark.skipif(not SSHD, reason="no sshd here")
@pytest.mark.parametrize(
    "address", ["ssh://-oProxyCommand=touch%20x@host", "ssh://-oProxyCommand=x", "ssh://host/py thon"]
)
def test_no_address_is_an_option_of_ssh(address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert reached(address)
    assert list(tmp_path.iterdir()) == []
