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

PRELUDE = f"""#!{sys.executable}
import json, os, re, sys, time
i = sys.stdin.buffer
hello, agent = (i.read(int(i.readline())).decode() for _ in range(2))
mark = re.search("edgeclip-[0-9a-f]+:", hello)[0]

def say(text):
    sys.stdout.buffer.write((mark + text + chr(10)).encode())
    sys.stdout.flush()

def answer(told):
    say(json.dumps({{"answer": told, "size": 0}}))

def greet():
    answer({{"python": list(sys.version_info[:2])}})
    i.readline()
told = {{"missing": [], "base": "x", "edgeclip": False, "free": 1}}
"""
LOOKS = {
    "nothing": "",
    "nothing after its version": "greet()",
    "no JSON": "greet(); say('I am a teapot')",
    "another's JSON": "greet(); answer({'teapot': True})",
    "a list": "greet(); answer([])",
    "too deep": "greet(); say('[' * 100000)",
    "a version as text": "answer({'python': ['3', '11']})",
    "an old version": "answer({'python': [2, 7]})",
    "NaN": "greet(); told['free'] = float('nan'); answer(told)",
    "less than no room": "greet(); told['free'] = -1; answer(told)",
    "bytes below none": "greet(); say(json.dumps({'answer': told, 'size': -1}))",
    "escape sequences": "print('\\x1b[2J\\x1b]0;mine\\x07')",
    "bytes that are no text": "sys.stdout.buffer.write(bytes(range(128, 256)))",
    "an error": "greet(); say(json.dumps({'error': 'no ' * 9000}))",
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


@pytest.mark.parametrize(
    ("before", "what"), [("", "what it prints before it answers"), ("greet(); say('y')", "its answer")]
)
def test_an_answer_without_end_is_cut(before, what, played, monkeypatch):
    monkeypatch.setattr(links, "ANSWER_BYTES", 1 << 20)
    endless = f"{before}\nsys.stdout.write(mark * bool({len(before)}))\nwhile True: sys.stdout.write('y' * 65536)"
    cut = pytest.raises(EdgeclipError, match=rf"{what} has .* bytes, 1,048,576 at most are read|not an answer")
    with cut, open_remote(played(endless)):
        pass


@pytest.mark.parametrize("before", ["", "greet()"])
def test_silence_has_an_end(before, played, monkeypatch):
    monkeypatch.setattr(links, "ANSWER_SECONDS", 2.0)
    monkeypatch.setattr(links, "HELLO_SECONDS", 2.0 if not before else 60.0)
    ended = pytest.raises(EdgeclipError, match="no answer in time, and no end: try ssh -p")
    with ended, open_remote(played(f"{before}\ntime.sleep(600)")):
        pass


# As the device's own Python, but for the files that a job leaves: they are changed before they are read.
FORGES = """
FORGE = '''
real = Agent.read
def read(self, path, *limits, **more):
    folder = os.path.dirname(path)
    if path.endswith("result.json"):
        {forge}
    return real(self, path, *limits, **more)
Agent.read = read
serve('''
answer({{"python": list(sys.version_info[:2])}})
exec(agent.replace("serve('", FORGE + "'"))
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
        with pytest.raises(EdgeclipError, match="its answer about what it gives is not valid"):
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
