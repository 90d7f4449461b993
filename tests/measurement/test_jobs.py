"""A job on a device and the connection to it: what is heard of it, and what is lost. Over a link that is played."""

import json
import shutil
from dataclasses import asdict

from edgeclip.measurement import remote, session
from edgeclip.measurement.job import FINISHED, verified
from edgeclip.measurement.remote import open_remote
from edgeclip.runtime.towerjob import RuntimeOptions

from .playedlink import look, told_of


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
