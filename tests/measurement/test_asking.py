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

from edgeclip.base.files import sha256
from edgeclip.measurement import remote, session
from edgeclip.measurement.devices import embeddings
from edgeclip.measurement.job import FINISHED, verified
from edgeclip.measurement.remote import open_remote
from edgeclip.measurement.runnerfile import NAME
from edgeclip.runtime.towerjob import RuntimeOptions, TowerJob

from .playedlink import LOOK, PlayedLink, benched, look, told_of


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


def test_embeddings_may_be_as_long_as_the_images_make_them(link, plan, out, monkeypatch):
    most = {}

    def read(path, start=0, most_read=None, **named):
        most[Path(path).name] = named.get("most", most_read)
        return PlayedLink.read(link, path, start)

    link.work, link.read = benched, read
    with open_remote("ssh://board") as machine:
        machine.bench(plan, out)
    assert most["0.npy"] == most["1.npy"] == session.RESERVE + 3 * remote.WIDEST
