"""A device that is broken, or another than it says: each of its answers ends in one line, whatever it is.

The interpreter that an address names is a program of the test's, which answers in its place over a real sshd.
"""

import getpass
import stat
import sys

import pytest

from edgeclip.base.errors import EdgeclipError
from edgeclip.measurement import links, verify
from edgeclip.measurement.remote import open_remote

fabric = pytest.importorskip("fabric")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:paramiko", "ignore::DeprecationWarning:invoke")

PRELUDE = f"#!{sys.executable}\nimport json, os, subprocess, sys, time\nREAL = {sys.executable!r}\n"
PRELUDE += "told = {'python': [3, 11], 'missing': [], 'base': 'x', 'edgeclip': False, 'free': 1}\n"
LOOKS = {
    "nothing": "",
    "no JSON": "print('I am a teapot')",
    "another's JSON": "print(json.dumps({'teapot': True}))",
    "a list": "print('[]')",
    "too deep": "print('[' * 100000)",
    "a version as text": "told['python'] = ['3', '11']; print(json.dumps(told))",
    "NaN": "told['free'] = float('nan'); print(json.dumps(told))",
    "less than no room": "told['free'] = -1; print(json.dumps(told))",
    "escape sequences": "print('\\x1b[2J\\x1b]0;mine\\x07')",
    "bytes that are no text": "sys.stdout.buffer.write(bytes(range(128, 256)))",
    "a signal": "os.kill(os.getpid(), 9)",
    "status 1, a novel": "sys.stderr.write('once upon a time\\n' * 1000); sys.exit(1)",
}


@pytest.fixture
def played(server, tmp_path):
    """The address of a program that answers in Python's place."""

    def make(script):
        file = tmp_path / "python"
        file.write_text(PRELUDE + script + "\n")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
        return f"ssh://{getpass.getuser()}@127.0.0.1:{server.port}{file}"

    return make


@pytest.mark.parametrize("name", LOOKS)
def test_whatever_it_says_of_itself(name, played):
    with pytest.raises(EdgeclipError) as error, open_remote(played(LOOKS[name])):
        pass
    told = str(error.value)
    assert "\n" not in told and len(told) < 700 and "127.0.0.1" in told


def test_an_answer_without_end_is_cut(played, monkeypatch):
    monkeypatch.setattr(links, "ANSWER_BYTES", 1 << 20)
    endless = "\nwhile True: sys.stdout.write('y' * 65536)"
    cut = pytest.raises(EdgeclipError, match=r"its answer has .* bytes, 1,048,576 at most are read")
    with cut, open_remote(played(endless)):
        pass


def test_silence_has_an_end(played, monkeypatch):
    monkeypatch.setattr(links, "ANSWER_SECONDS", 0.5)
    ended = pytest.raises(EdgeclipError, match="said nothing for 0 s, and did not end")
    with ended, open_remote(played("time.sleep(600)")):
        pass


# As the device's own Python, but for the files that a job leaves.
FORGES = """
words = sys.argv[1:]
status = subprocess.run([REAL, *words]).returncode
if words[-2:-1] == ["job"]:
    folder = words[-1]
    for _ in range(600):
        if os.path.exists(os.path.join(folder, "result.json")):
            break
        time.sleep(0.05)
    {forge}
sys.exit(status)
"""
FORGED = {
    "it verified, it says": ("open(os.path.join(folder, 'result.json'), 'w').write('{\"verified\": true}')", None),
    "no towers": ("open(os.path.join(folder, 'result.json'), 'w').write('{}')", None),
    "nothing given": ("[os.remove(os.path.join(folder, n)) for n in os.listdir(folder) if n.endswith('.npy')]", False),
    "zeros": ("import numpy; numpy.save(os.path.join(folder, 'fp32.npy'), numpy.zeros((8, 32), 'float32'))", False),
    "longer": ("import numpy; p = os.path.join(folder, 'fp32.npy'); numpy.save(p, 9 * numpy.load(p))", False),
    "an object array": (
        "import numpy; numpy.save(os.path.join(folder, 'fp32.npy'), numpy.array([{}], object), allow_pickle=True)",
        False,
    ),
    "as it is": ("pass", True),
}


QUICK = ("it verified, it says", "longer")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FORGED]
)
def test_its_own_word_is_not_taken(name, played, bundle):
    forge, verified = FORGED[name]
    address = played(FORGES.format(forge=forge))
    if verified is None:
        with pytest.raises(EdgeclipError, match="its answer about what it gives is none"):
            verify(bundle.path, device=address)
        return
    found = verify(bundle.path, device=address)
    assert found.verified is verified
    wrong = {one.part for one in found.findings if one.ok is False}
    assert ("image tower fp32" in wrong) is not verified


@pytest.mark.slow
def test_what_is_compared_is_what_it_gave(played, bundle):
    """The same file, changed by one number: the difference is this side's own finding."""
    forge = "import numpy; p = os.path.join(folder, 'fp32.npy'); a = numpy.load(p); a[0, 0] += 0.001; numpy.save(p, a)"
    found = verify(bundle.path, device=played(FORGES.format(forge=forge)))
    fp32 = next(one for one in found.findings if one.part == "image tower fp32")
    assert "largest difference 0.00" in fp32.detail, "once, or as often as the job was asked for"
