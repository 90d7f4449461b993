"""What goes to a device and what is there already: over a link that is played."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

from edgeclip.base.files import sha256
from edgeclip.measurement import session
from edgeclip.measurement.links import DeviceRefused
from edgeclip.measurement.remote import open_remote

from .playedlink import LOOK, benched, told_of


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
