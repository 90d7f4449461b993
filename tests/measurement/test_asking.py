"""What is asked of a device, in which order, and what is made of its answers: over a link that is played.

The way over a real sshd is in ``test_remote.py``; what a lying device gets away with is in ``test_misbehaving.py``.
"""

import json
import shutil
import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from edgeclip.base.errors import EdgeclipError
from edgeclip.base.files import sha256
from edgeclip.device.facts import describe_device
from edgeclip.device.sensors import read_sensors
from edgeclip.measurement import remote, session
from edgeclip.measurement.bench import RULE, Plan
from edgeclip.measurement.devices import embeddings
from edgeclip.measurement.job import FINISHED, give_bundle, verified
from edgeclip.measurement.links import DeviceRefused
from edgeclip.measurement.remote import open_remote
from edgeclip.measurement.runnerfile import NAME
from edgeclip.runtime.towerjob import RuntimeOptions, TowerJob
from edgeclip.runtime.turns import WORKER

from .playedlink import PlayedLink

LOOK = {"missing": [], "base": "/b", "edgeclip": False, "free": 10**9}


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


def benched(plan, folder, *, milliseconds=2.0, images=3):
    """The answer of a device that measured all that it was sent, and a file of embeddings for each tower."""
    opened = {"engine": "played", "version": "1", "import_ms": 1.0, "load_ms": 1.0, "first_ms": 1.0}
    opened |= {"peak_memory_mb": None, "asked_provider": "CPU", "providers": ["CPU"]}
    row = {"opened": opened, "latency": {"p50": milliseconds}, "samples_ms": [milliseconds], "turns": [[0.0, 2.0]]}
    rows = {name: {**row, "embeds": {"images": images, "broken": []}} for name in plan["bench"]["towers"]}
    for number in range(len(rows)):
        np.save(folder / f"{number}.npy", np.full((images, 4), number, np.float32))
    machine = describe_device().model_copy(update={"cpu": "a board"}).model_dump()
    still = asdict(read_sensors())
    return {"rows": rows, "reference": row, "rule": RULE, "before": still, "after": still, "machine": machine}


def told_of(action):
    """The line that an action ends in."""
    with pytest.raises(EdgeclipError) as error:
        action()
    return str(error.value)


def look():
    with open_remote("ssh://pi@board/opt/python"):
        pass


def test_what_lacks_there_is_named_with_what_brings_it(link):
    def answers(**facts):
        link.answers["look"] = json.dumps({**LOOK, **facts})

    link.answers["claim"] = '{"holder": ""}'
    answers(missing=["PIL", "numpy"])
    assert told_of(look) == "played: no pillow numpy there: python3 -m pip install pillow numpy"
    link.answers["look"] = "a greeting"
    assert told_of(look) == "played: it answers 'a greeting' about what is there, where JSON was expected"
    answers()
    look()


def test_a_plan_goes_there_with_its_files_and_its_figures_come_back(link, plan, out, capsys, tmp_path):
    seen, told = {}, []

    def work(sent, folder):
        seen.update(sent)
        seen["archive"] = zipfile.ZipFile(sent["files"]["images.zip"])
        seen["runner"] = (folder / NAME).read_text()
        link.event(folder, "latency", 3, 7)
        return benched(sent, folder)

    link.work = work
    with open_remote("ssh://board") as machine:
        assert (machine.name, machine.local) == ("played", False)
        found = machine.bench(plan, out, on_step=lambda *step: told.append(step))
    sent = seen["bench"]
    assert (seen["kind"], sent["focus"], sent["seconds"]) == ("bench", "two", plan.seconds)
    assert sent["towers"]["one"] == asdict(TowerJob("0-image.fp32.onnx", threads=1))
    assert sent["towers"]["two"]["graph"] == "1-image.fp32.onnx", "two bundles may both have this name"
    assert sent["towers"]["two"]["weights"] == plan.towers["two"].weights
    assert sent["reference"] == asdict(TowerJob("3-text.fp32.onnx"))
    names = ["0-image.fp32.onnx", "1-image.fp32.onnx", "3-text.fp32.onnx", "images.zip", "weights.bin"]
    assert sorted(seen["files"]) == names
    assert all(sha256(Path(path)) == Path(path).name for path in seen["files"].values())
    assert (sent["archive"], sent["images"]) == ("images.zip", [f"000000{number}.png" for number in range(3)])
    assert [seen["archive"].read(name) for name in sent["images"]] == [Path(one).read_bytes() for one in plan.images]
    assert all(one.compress_type == zipfile.ZIP_STORED for one in seen["archive"].infolist())
    assert "def run_job" in seen["runner"]
    assert ("latency", 3, 7) in told and (FINISHED, 1, 1) in told
    copies = [step for step in told if step[0].startswith("copy ")]
    assert [step[1:] for step in copies] == [(number, 4) for number in range(4)], "the same graph twice is one file"
    assert {name for name, _, _ in copies} >= {"copy image.fp32.onnx", "copy images.zip", "copy weights.bin"}
    assert found.rows["one"].latency["p50"] == 2.0
    assert found.machine.cpu == "a board"
    assert found.reference.embeds is None
    assert embeddings(found, plan, out)["two"][0].tolist() == np.ones((3, 4)).tolist()
    assert list((tmp_path / "there/edgeclip/jobs").iterdir()) == []
    kept = sum(path.stat().st_size for path in (tmp_path / "there/edgeclip/blobs").iterdir())
    stays = f"played: {kept / 1e6:.1f} MB stay in {tmp_path / 'there/edgeclip'} for the next time"
    assert stays in capsys.readouterr().err
    assert link.closed == 1


def test_the_same_images_are_the_same_archive_and_nothing_is_copied_twice(link, plan, out):
    link.work = benched
    with open_remote("ssh://board") as machine:
        machine.bench(plan, out)
        copied = len(link.sent)
        machine.bench(plan, out)
    again = [name for name, _ in link.sent[copied:]]
    assert again == []
    assert [Path(words["path"]).name for name, words in link.asked if name == "write"] == 2 * ["plan.json", NAME]


def test_a_plan_without_images_and_reference_has_neither(link, plan, out):
    seen = {}

    def work(sent, folder):
        seen.update(sent)
        found = benched(sent, folder, images=0)
        (folder / "0.npy").write_bytes(b"left over")
        return {**found, "reference": None}

    link.work, plan.images, plan.reference = work, [], None
    with open_remote("ssh://board") as machine:
        found = machine.bench(plan, out)
    assert (seen["bench"]["archive"], seen["bench"]["images"], seen["bench"]["reference"]) == (None, [], None)
    assert sorted(seen["files"]) == ["0-image.fp32.onnx", "1-image.fp32.onnx", "weights.bin"]
    assert found.reference is None
    assert list(out.iterdir()) == [], "no embeddings were asked for"


def test_towers_of_this_process_cannot_take_turns_there(link, plan, out):
    with open_remote("ssh://board") as machine, pytest.raises(ValueError, match="cannot take turns on another machine"):
        machine.bench(plan, out, beside={"torch": None})
    assert [name for name, _ in link.asked] == ["look", "claim", "release"]


def test_figures_of_what_was_not_sent_are_refused(link, plan, out):
    def work(sent, folder):
        found = benched(sent, folder)
        return {**found, "rows": {"another": found["rows"]["one"]}}

    link.work = work
    with open_remote("ssh://board") as machine:
        assert told_of(lambda: machine.bench(plan, out)) == "played: it measured another, not what was sent"
        link.work = lambda sent, folder: {"rows": 1}
        plan.seconds += 1
        told = told_of(lambda: machine.bench(plan, out))
    assert told.startswith("played: its answer about what it measured is not valid: ")


@pytest.fixture(scope="module")
def given(bundle, tmp_path_factory):
    """What this machine gives for the bundle's recorded inputs, and the files."""
    folder = tmp_path_factory.mktemp("given")
    return give_bundle(bundle.path, WORKER, folder, RuntimeOptions()), folder


def test_a_bundle_is_verified_by_what_comes_back(link, bundle, given):
    seen, (outputs, folder) = [], given

    def work(sent, job):
        seen.append(sent)
        shutil.copytree(folder, job, dirs_exist_ok=True)
        return asdict(outputs)

    link.work = work
    asked = {"threads": 3, "provider": "P", "engine": "E"}
    with open_remote("ssh://board") as machine:
        checks = machine.verify(bundle.path, RuntimeOptions(**asked))
        assert verified(checks), checks
        parts = {check.part for check in checks if check.ok}
        assert {"tokenizer", "preprocessing", "text tower", "image tower fp32"} <= parts
        plan = {name: value for name, value in seen[0].items() if name != "files"}
        assert plan == {"kind": "verify", "options": asked}
        assert {"bundle.json", "image.fp32.onnx", bundle.manifest.tokenizer.file} <= seen[0]["files"].keys()
        link.work = lambda sent, job: {**work(sent, job), "failed": {"fp32": "it crashed"}}
        steps = []
        assert not verified(machine.verify(bundle.path, on_step=lambda *step: steps.append(step)))
        assert (FINISHED, 1, 1) in steps
        link.work = lambda sent, job: {"towers": ["fp64"], "failed": {}, "left_out": []}
        told = told_of(lambda: machine.verify(bundle.path, RuntimeOptions(threads=1)))
    assert told.startswith("played: its answer about what it gives is not valid: ")


def test_a_command_of_the_edgeclip_there(link, out):
    seen = []

    def work(sent, folder):
        seen.append(sent)
        (folder / "p.toml").write_bytes(b"a profile")
        return {"status": 0, "why": "done"}

    def profile(machine, *words):
        steps = []
        machine.edgeclip(
            ["profile", *words], "p.toml", out / "far.toml", within=7.0, on_step=lambda *s: steps.append(s)
        )
        return steps

    link.work, link.answers["look"], link.answers["claim"] = work, json.dumps(LOOK), '{"holder": ""}'
    with open_remote("ssh://board") as machine:
        none = "played: no edgeclip there, which this needs: python3 -m pip install edgeclip"
        assert told_of(lambda: profile(machine)) == none
    link.answers.clear()  # this Python has it
    with open_remote("ssh://board") as machine:
        assert (FINISHED, 1, 1) in profile(machine)
        assert (out / "far.toml").read_bytes() == b"a profile"
        assert seen == [{"kind": "edgeclip", "words": ["profile"], "within": 7.0, "files": {}}]
        link.work = lambda sent, folder: {"status": 2, "why": "edgeclip: the machine is busy"}
        assert told_of(lambda: profile(machine, "again")) == "played: the machine is busy"
        link.work = lambda sent, folder: {"status": "2"}
        assert told_of(lambda: profile(machine, "x")).startswith("played: its answer about how it ended is not valid: ")


def test_room_is_counted_before_anything_is_copied(link, plan, out, tmp_path):
    size = sum({sha256(p): p.stat().st_size for p in map(Path, _files(plan))}.values())
    plan.images = []
    for free, fits in ((size + session.RESERVE, True), (size + session.RESERVE - 1, False)):
        shutil.rmtree(tmp_path / "there", ignore_errors=True)
        base = tmp_path / "there/edgeclip"
        for folder in ("blobs", "jobs"):
            (base / folder).mkdir(parents=True)
        link.answers["look"] = json.dumps({**LOOK, "base": str(base), "free": free})
        link.work = lambda sent, folder: {**benched(sent, folder, images=0), "reference": None}
        with open_remote("ssh://board") as machine:
            if fits:
                machine.bench(plan, out)
                continue
            told = told_of(lambda: machine.bench(plan, out))
            room = (
                f"played: {size / 1e6:.1f} MB to copy, {free / 1e6:.1f} MB free in {base}: make room, or name another"
            )
            assert told == f"{room} folder: ?folder=PATH at the end of its address"
            assert list((base / "blobs").iterdir()) == []
            one = sha256(Path(plan.towers["one"].graph))
            part = Path(plan.towers["one"].graph).read_bytes()[:1]
            (base / "blobs" / f"{one}.part").write_bytes(part)
            machine.bench(plan, out)
            assert (f"{one}.part", 1) in link.sent, "what is there already needs no room, and is not sent again"


def _files(plan):
    return [plan.towers["one"].graph, plan.towers["two"].weights, plan.reference.graph]


def test_an_answer_that_leaves_out_a_file_is_refused(link, plan, out):
    link.answers["have"] = "{}"
    with open_remote("ssh://board") as machine:
        told = told_of(lambda: machine.bench(plan, out))
    assert told.startswith("played: its answer about what it holds lacks ")


def test_a_damaged_copy_is_sent_once_more_and_then_given_up(link, bundle):
    bad, good = '{"good": false}', '{"good": true}'
    name = f"{sha256(bundle.path / 'bundle.json')}.part"
    link.answers["finish"] = [bad, *[good] * 20]
    link.work = lambda sent, folder: {"towers": [], "failed": {}, "left_out": []}
    with open_remote("ssh://board") as machine:
        machine.verify(bundle.path)
    assert [sent for sent, _ in link.sent].count(name) == 2
    link.sent.clear()
    link.answers["finish"] = bad
    with open_remote("ssh://board") as machine:
        told = told_of(lambda: machine.verify(bundle.path))
    assert told == "played: bundle.json arrives damaged: check the device's disk"
    assert [sent for sent, _ in link.sent] == [name, name]


def test_a_disk_that_is_full_is_said(link, bundle, tmp_path):
    there = tmp_path / "there/edgeclip"
    full = "OSError: No space left on device"
    with open_remote("ssh://board") as machine:
        link.full = 1
        told = told_of(lambda: machine.verify(bundle.path))
        assert told == f"played: cannot write bundle.json to {there}/blobs ({full}): is its disk full?"
        link.answers["have"] = DeviceRefused(full)
        assert told_of(lambda: machine.verify(bundle.path)) == f"played: {full}: is its disk full?"
        link.answers["have"] = DeviceRefused("PermissionError: denied")
        assert told_of(lambda: machine.verify(bundle.path)) == "played: PermissionError: denied"
        del link.answers["have"]
        link.answers["write"] = "[]"
        told = told_of(lambda: machine.verify(bundle.path))
        assert told.startswith("played: its answer about its files is not valid: ")


def test_what_a_device_holds_must_be_said_before_a_file_goes_on(link, bundle):
    holds = [played_have(bundle), DeviceRefused("Killed"), "no"]
    link.answers["have"] = holds[:2]
    with open_remote("ssh://board") as machine:
        assert told_of(lambda: machine.verify(bundle.path)) == "played: Killed"
        link.answers["have"] = [holds[0], holds[2]]
        told = told_of(lambda: machine.verify(bundle.path))
        assert told == "played: it answers 'no' about what it holds, where JSON was expected"


def played_have(bundle):
    names = [bundle.path / "bundle.json", *(bundle.path / one.file for one in bundle.artefacts)]
    return json.dumps({sha256(path): {"whole": False, "part": 0} for path in names})


def test_a_plan_that_is_there_already_is_not_sent_again_and_half_a_plan_is_replaced(link, bundle, given):
    outputs, folder = given
    link.work = lambda sent, job: shutil.copytree(folder, job, dirs_exist_ok=True) and asdict(outputs)
    link.answers["clean"] = '{"kept": 0}'
    with open_remote("ssh://board") as machine:
        machine.verify(bundle.path)
        (job,) = {Path(words["folder"]) for name, words in link.asked if name == "job"}
        link.asked.clear()
        machine.verify(bundle.path)
        assert "write" not in dict(link.asked) and "append" not in dict(link.asked), (
            "the job is the same: it is found, and its result taken"
        )
        whole = (job / "plan.json").read_text()
        (job / "plan.json").write_text(whole[:9])
        machine.verify(bundle.path)
        assert [words["path"] for name, words in link.asked if name == "write"] == [str(job / "plan.json")]
        assert (job / "plan.json").read_text() == whole


def test_events_are_passed_on_line_by_line_however_they_arrive(link, bundle, monkeypatch):
    told, running, finished = [], (0, '{"state": "running"}', ""), (0, '{"state": "finished"}', "")
    event = b'{"text": "latency", "done": 1.5, "steps": 4.9}\n'
    last = json.dumps({"text": FINISHED, "done": 1, "steps": 0.5}).encode() + b"\n"
    arrives = [b"", event[:10], event, event + event, b"", event + last, b""]
    reads, whole = [], link.read

    def read(remote_path, start=0, most=None, wait=0):
        if not remote_path.endswith("events.jsonl"):
            return whole(remote_path, start, most)
        reads.append(start)
        return arrives[len(reads) - 1]

    link.states, link.read = [running, finished], read
    with open_remote("ssh://board") as machine:
        told_of(lambda: machine.verify(bundle.path, on_step=lambda *step: told.append(step)))  # it left no result
    assert told[-5:] == [*4 * [("latency", 1, 4)], (FINISHED, 1, 1)]
    assert reads == [0, 0, 0, len(event), 3 * len(event), 3 * len(event)]


def test_a_job_without_news_is_asked_whether_it_lives(link, bundle, monkeypatch, tmp_path):
    monkeypatch.setattr(remote, "SILENCE_SECONDS", 0.003)
    monkeypatch.setattr(remote, "HUNG_SECONDS", 30.0)
    running, died = (0, '{"state": "running"}', ""), (0, '{"state": "died", "why": "killed"}', "")
    link.states = [running, running, died]
    with open_remote("ssh://board") as machine:
        told = told_of(lambda: machine.verify(bundle.path))
    assert told == "played: the measurement died there (killed)"
    assert [name for name, _ in link.asked][-5:] == ["job", "job", "job", "clean", "release"]
    assert list((tmp_path / "there/edgeclip/jobs").iterdir()) == []
    assert link.asked[-2][1]["blobs"] == str(tmp_path / "there/edgeclip/blobs")
    link.states = [(0, json.dumps({"state": "died", "why": "x" * 999}), "")]
    with open_remote("ssh://board") as machine:
        assert told_of(lambda: machine.verify(bundle.path)).count("x") == 500
    link.states = [(1, "", "a traceback\nOSError: gone\n")]
    with open_remote("ssh://board") as machine:
        assert told_of(lambda: machine.verify(bundle.path)) == "played: the runner fails there (OSError: gone)"
    link.states = [(0, '{"state": "asleep"}', "")]
    with open_remote("ssh://board") as machine:
        told = told_of(lambda: machine.verify(bundle.path))
    assert told.startswith("played: its answer about the measurement is not valid: state")


def test_a_job_that_tells_something_is_not_asked_meanwhile(link, bundle, monkeypatch):
    monkeypatch.setattr(remote, "SILENCE_SECONDS", 0.0015)
    lines = iter([b'{"text": "latency", "done": 1, "steps": 2}\n'] * 20)
    link.states = [(0, '{"state": "running"}', ""), (0, '{"state": "died", "why": "x"}', "")]
    whole = link.read
    link.read = lambda path, start=0, most=None, wait=0: (
        next(lines, b"") if path.endswith("events.jsonl") else whole(path, start, most)
    )
    with open_remote("ssh://board") as machine:
        told_of(lambda: machine.verify(bundle.path))
        assert next(lines, None) is None, "all of it was heard before the job was asked again"
        link.states = [(0, '{"state": "running"}', "")]
        link.read = lambda path, start=0, most=None, wait=0: (
            b"nonsense\n" if path.endswith("events.jsonl") else whole(path, start, most)
        )
        told = told_of(lambda: machine.verify(bundle.path, RuntimeOptions(threads=1)))
    assert told == "played: it answers b'nonsense' about what it is doing, where JSON was expected"


def test_a_job_that_hangs_is_given_up_and_stays_to_be_found(link, bundle, monkeypatch, tmp_path):
    monkeypatch.setattr(remote, "SILENCE_SECONDS", 0.001)
    monkeypatch.setattr(remote, "HUNG_SECONDS", 0.05)
    link.states = [(0, '{"state": "running"}', "")] * 10_000
    with open_remote("ssh://board") as machine:
        told = told_of(lambda: machine.verify(bundle.path))
    (job,) = (tmp_path / "there/edgeclip/jobs").iterdir()
    left = f"; {job} and the copied files stay on the device: run the same command again to continue"
    assert told == f"played: no news of the measurement for 0 minutes: it hangs{left}"
    assert "clean" not in dict(link.asked)


def test_a_lost_connection_is_made_anew_and_the_same_is_asked_again(link, bundle, given, capsys):
    outputs, folder = given

    def work(sent, job):
        link.lost = 2
        shutil.copytree(folder, job, dirs_exist_ok=True)
        return asdict(outputs)

    link.work = work
    with open_remote("ssh://board") as machine:
        assert verified(machine.verify(bundle.path))
    said = capsys.readouterr().err
    assert said.count("played: the connection is lost, trying again") == 2
    assert link.connected == ["ssh://board"] * 3
    assert link.closed == 2, "one broke, and one was hung up at the end; a third never came about"


def test_a_device_that_another_took_meanwhile_is_waited_for(link, bundle, given, capsys):
    outputs, folder = given

    def work(sent, job):
        shutil.copytree(folder, job, dirs_exist_ok=True)
        return asdict(outputs)

    link.work = work
    claims = ['{"holder": "ada@desk"}', '{"holder": "ada@desk"}', '{"holder": ""}']
    with open_remote("ssh://board") as machine:
        link.lost, link.answers["claim"], asked = 1, claims, len(link.asked)
        assert verified(machine.verify(bundle.path))
    assert [do for do, _ in link.asked[asked:]][:4] == ["look", "claim", "claim", "claim"], "and then goes on"
    assert capsys.readouterr().err.count("in use by ada@desk: waiting until it is free") == 1


def test_a_device_that_stays_away_is_given_up_after_some_tries(link, bundle, tmp_path):
    link.lost = 1
    assert told_of(look) == "no connection: played: the line is cut", "nobody was ever there: there is no second try"
    assert len(link.connected) == 1
    link.connected.clear()
    link.work = lambda sent, folder: setattr(link, "lost", 1000) or {}
    with open_remote("ssh://board") as machine:
        told = told_of(lambda: machine.verify(bundle.path))
    (job,) = (tmp_path / "there/edgeclip/jobs").iterdir()
    left = f"; {job} and the copied files stay on the device: run the same command again to continue"
    assert told == f"no connection: played: the line is cut{left}"
    assert len(link.connected) == session.TRIES, "once to begin with, and then all tries but the first"
    link.lost = 0


def test_embeddings_may_be_as_long_as_the_images_make_them(link, plan, out, monkeypatch):
    most = {}

    def read(path, start=0, most_read=None, **named):
        most[Path(path).name] = named.get("most", most_read)
        return PlayedLink.read(link, path, start)

    link.work, link.read = benched, read
    with open_remote("ssh://board") as machine:
        machine.bench(plan, out)
    assert most["0.npy"] == most["1.npy"] == session.RESERVE + 3 * remote.WIDEST
