"""The way to a device and back, over a real sshd: when all goes well, and in the ways in which it does not."""

import json
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeclip.base.errors import EdgeclipError
from edgeclip.cli import main
from edgeclip.device.facts import describe_device
from edgeclip.measurement import remote, session
from edgeclip.measurement.bench import Plan
from edgeclip.measurement.devices import embeddings
from edgeclip.measurement.job import verified
from edgeclip.measurement.reference import write_reference
from edgeclip.measurement.remote import open_remote
from edgeclip.profiling.store import load_profile
from edgeclip.runtime.towerjob import RuntimeOptions
from edgeclip.runtime.turns import Taken

from ..test_cli import RESTLESS, run


@pytest.fixture
def plan(bundle, images_dir, tmp_path):
    job = bundle.encoder("fp32", threads=1).job
    images = [str(path) for path in sorted(images_dir.iterdir())[:4]]
    (tmp_path / "reference").mkdir()
    reference = write_reference(tmp_path / "reference", job)
    return Plan(towers={"exported fp32": job}, focus="exported fp32", reference=reference, images=images, seconds=0.2)


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(session, "TRIES", 3)
    monkeypatch.setattr(session, "WAIT_SECONDS", 0.1)
    monkeypatch.setattr(remote, "WAIT_SECONDS", 0.1)
    monkeypatch.setattr(remote, "SILENCE_SECONDS", 2.0)


def blobs(server):
    return {path.name: path.stat().st_mtime_ns for path in (server.cache / "blobs").iterdir()}


def test_measured_there_and_brought_back(server, plan, bundle, tmp_path, capsys):
    told = []
    with open_remote(server.address) as machine:
        found = machine.bench(plan, tmp_path, on_step=lambda *step: told.append(step))
        row = found.rows["exported fp32"]
        assert Taken(row.samples_ms).enough
        assert found.reference.latency["p50"] > 0
        (embeds, broken) = embeddings(found, plan, tmp_path)["exported fp32"]
        assert (embeds.shape, broken) == ((4, 32), [])
        assert any("copy" in text for text, _, _ in told)
        assert any("latency" in text for text, _, _ in told)
        before = blobs(server)
        assert verified(machine.verify(bundle.path))
    assert list((server.cache / "jobs").iterdir()) == []
    assert before.items() <= blobs(server).items(), "what was there already was copied again"
    assert "stay in" in capsys.readouterr().err


def test_a_key_that_is_not_wanted(server):
    (server.folder / "authorized_keys").write_text("")
    with pytest.raises(EdgeclipError, match="refuses the login"), open_remote(server.address):
        pass


def test_a_host_that_is_not_known(server):
    (server.folder / "home/.ssh/known_hosts").write_text("")
    with pytest.raises(EdgeclipError, match="host key is not known"), open_remote(server.address):
        pass


def test_a_host_with_another_key_than_the_known_one(server):
    known = server.folder / "home/.ssh/known_hosts"
    other = (server.folder / "home/.ssh/id_ed25519.pub").read_text().split()[1]
    known.write_text(f"{known.read_text().split()[0]} ssh-ed25519 {other}\n")
    with pytest.raises(EdgeclipError, match="host key is NOT the known one"), open_remote(server.address):
        pass


def test_no_python_there(server):
    server.stop()
    assert server.start(path="/nowhere")
    address = server.address.removesuffix(sys.executable)
    with pytest.raises(EdgeclipError, match=r"no python3 there: install Python"), open_remote(address):
        pass


def test_a_python_without_onnxruntime(server):
    bare = shutil.which("python3", path="/usr/bin")
    if not bare or subprocess.run([bare, "-c", "import onnxruntime"], capture_output=True).returncode == 0:
        pytest.skip("needs a Python without onnxruntime")
    with (
        pytest.raises(EdgeclipError, match=r"-m pip install .*onnxruntime"),
        open_remote(server.address.replace(sys.executable, bare)),
    ):
        pass


def test_nobody_there(server, impatient):
    server.stop()
    with pytest.raises(EdgeclipError, match="no connection"), open_remote(server.address):
        pass


def when_it_measures(told, action):
    """An on_step that does something, once, when latency is being measured."""

    def tell(text, done, steps):
        if "latency" in text and not told:
            told.append(text)
            threading.Thread(target=action).start()

    return tell


def test_a_connection_that_is_cut_during_the_run_is_taken_up_again(server, plan, tmp_path, impatient, capsys):
    cut = []
    with open_remote(server.address) as machine:
        found = machine.bench(plan, tmp_path, on_step=when_it_measures(cut, lambda: cut.append(server.cut())))
    assert cut[1] >= 1, "no connection was there to be cut"
    assert "the connection is lost, trying again" in capsys.readouterr().err
    assert Taken(found.rows["exported fp32"].samples_ms).enough
    assert list((server.cache / "jobs").iterdir()) == []


@pytest.mark.slow
def test_a_device_that_is_gone_for_good_leaves_a_job_that_the_same_command_finds(server, plan, tmp_path, impatient):
    gone = []
    left = pytest.raises(EdgeclipError, match="stay on the device: run the same command again")
    with left as told, open_remote(server.address) as machine:
        machine.bench(plan, tmp_path, on_step=when_it_measures(gone, server.stop))
    (job,) = (server.cache / "jobs").iterdir()
    assert str(job) in str(told.value)
    deadline = time.monotonic() + 60
    while not (job / "result.json").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    result = json.loads((job / "result.json").read_text())
    assert server.start()
    with open_remote(server.address) as machine:
        found = machine.bench(plan, tmp_path)
    for name, row in result["rows"].items():
        assert found.rows[name].samples_ms == row["samples_ms"], "it was not measured again"
    assert not job.exists()


@pytest.fixture
def small_disk(server):
    """The device's cache on a disk of three megabytes."""
    (server.folder / "cache").mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "small", str(server.folder / "cache")]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("a small disk is made with mount(8), as root")
    yield server
    server.stop()
    subprocess.run(["umount", str(server.folder / "cache")], check=True)


def test_too_little_room_there_is_known_before_anything_is_copied(small_disk, plan, tmp_path):
    with pytest.raises(EdgeclipError, match="MB free in"), open_remote(small_disk.address) as machine:
        machine.bench(plan, tmp_path)
    assert list((small_disk.cache / "blobs").iterdir()) == []


def test_a_disk_that_is_full_in_the_middle(small_disk, plan, tmp_path, monkeypatch):
    for module in (remote, session):
        monkeypatch.setattr(module, "RESERVE", -(1 << 30))
    with pytest.raises(EdgeclipError, match="is its disk full"), open_remote(small_disk.address) as machine:
        machine.bench(plan, tmp_path)


@pytest.mark.slow
def test_a_copy_goes_on_where_it_was_cut_and_a_spoilt_one_starts_anew(server, bundle, tmp_path):
    whole = Path(bundle.path / "image.fp32.onnx").read_bytes()
    from edgeclip.base.files import sha256

    digest = sha256(bundle.path / "image.fp32.onnx")
    for start in (whole[:1000], b"spoilt"):
        shutil.rmtree(server.cache, ignore_errors=True)
        (server.cache / "blobs").mkdir(parents=True)
        (server.cache / "blobs" / f"{digest}.part").write_bytes(start)
        with open_remote(server.address) as machine:
            assert verified(machine.verify(bundle.path))
        assert (server.cache / "blobs" / digest).read_bytes() == whole


def test_a_tower_that_fails_there_is_a_row_and_a_job_that_dies_says_why(server, plan, tmp_path, impatient):
    tower = plan.towers["exported fp32"]
    plan.towers["exported fp32"] = replace(tower, graph=str(tmp_path / "x.onnx"))
    (tmp_path / "x.onnx").write_bytes(b"nonsense")
    with open_remote(server.address) as machine:
        found = machine.bench(plan, tmp_path)
        assert "cannot open it" in found.rows["exported fp32"].failed
        plan.focus = []
        with pytest.raises(EdgeclipError, match=r"the measurement died there \(TypeError"):
            machine.bench(plan, tmp_path)
    assert list((server.cache / "jobs").iterdir()) == []


@pytest.mark.parametrize("address", ["pi@raspberry", "ssh://", "ssh://pi@host:port", "adb://", "http://host"])
def test_what_is_no_address(address):
    with pytest.raises(EdgeclipError, match=r"not an address.*ssh://pi@raspberry"), open_remote(address):
        pass


def test_words_reach_the_device_as_they_are(server):
    odd = "a b; touch x $(id) `id` 'quoted' \"double\" \\ ünï\n*"
    with open_remote(server.address) as machine:
        file = str(server.cache / odd)
        machine._write(file, odd)
        assert machine._read(file).decode() == odd
    assert (server.cache / odd).read_text() == odd


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_the_commands_reach_the_device(server, bundle, tmp_path, images_dir):
    (tmp_path / "dataset/noise").mkdir(parents=True)
    (tmp_path / "dataset/other").mkdir()
    for number, path in enumerate(sorted(images_dir.iterdir())[:6]):
        shutil.copy(path, tmp_path / "dataset" / ("noise" if number % 2 else "other"))
    told = json.loads(run("verify", bundle.path, "--device", server.address, "--json").stdout)
    assert told["verified"]
    another = describe_device().model_copy(update={"cpu": "another"})
    load_profile("x86-avx2-2core").model_copy(update={"device": another}).save(tmp_path / "other.toml")
    words = ["--profile", tmp_path / "other.toml", "--dataset", tmp_path / "dataset", "--out", tmp_path / "report"]
    words += ["--teacher", bundle.path, "--seconds", 1, "--device", server.address, "--json"]
    report = json.loads(run("report", bundle.path, *words, "--latency-ms", 1000, expect=4).stdout)
    assert report["verdict"] == "unknown", "the profile is of another machine than the one that was reached"
    assert "--other-device" in report["advice"][0]
    rows = {row["stage"]: row for row in report["rows"]}
    assert {name for name, row in rows.items() if row["where"] == "host"} == {"exported fp32, host"}
    assert rows["exported fp32"]["compared_to"] == "exported fp32, host"
    assert rows["exported fp32"]["flip_rate"] == 0
    assert "timing" not in rows["exported fp32, host"]
    assert all(Taken(row["timing"]["raw_ms"]).enough for row in report["rows"] if row["where"] == "device")
    assert server.address in report["commands"][-1]


@pytest.mark.slow
def test_a_device_is_profiled_from_here(server, tmp_path):
    words = ["profile", "far", "--out", tmp_path / "far.toml", "--seconds", 5, "--precision", "fp32", "--threads", 1]
    result = CliRunner().invoke(main, [*map(str, words), "--device", server.address, "--json"])
    if RESTLESS in result.stderr:  # its words came back from there; what else is tested needs a machine at rest
        assert (result.exit_code, (tmp_path / "far.toml").exists()) == (2, False)
        return
    told = json.loads(result.stdout)
    assert (told["name"], told["provenance"], told["runtime"]["threads"]) == ("far", "measured", 1)
    assert (tmp_path / "far.toml").is_file()
    complaint = run("profile", "far away", "--out", tmp_path / "x.toml", "--device", server.address, expect=2).stderr
    assert "cannot name a profile" in complaint
    assert not (tmp_path / "x.toml").exists()


ENGINE = """
from edgeclip.base.errors import EdgeclipError
from edgeclip.runtime.engines.ort import Onnxruntime

class Fits(Onnxruntime):
    name = "fits"

class Refuses(Onnxruntime):
    name = "refuses"

    def open(self, graph, **settings):
        raise EdgeclipError("no GPU is here: plug one in")

FITS, REFUSES = Fits(), Refuses()
"""


@pytest.mark.slow
def test_an_engine_that_a_package_brings_there_is_used_and_its_refusal_is_a_line(server, bundle):
    """As TensorRT is on a Jetson, whose edgeclip brings it."""
    brought = server.folder / "packages/brought-1.dist-info"
    brought.mkdir(parents=True)
    (brought / "METADATA").write_text("Metadata-Version: 2.1\nName: brought\nVersion: 1\n")
    (brought / "entry_points.txt").write_text("[edgeclip.engines]\nfits = brought:FITS\nrefuses = brought:REFUSES\n")
    (server.folder / "packages/brought.py").write_text(ENGINE)
    with open_remote(server.address) as machine:
        assert verified(machine.verify(bundle.path, RuntimeOptions("fits")))
        for engine, line in {"refuses": "no GPU is here: plug one in", "none": "no engine is called 'none'"}.items():
            findings = machine.verify(bundle.path, RuntimeOptions(engine))
            told = next(check for check in findings if check.part in ("image tower fp32", "bundle"))
            assert told.ok is False
            assert told.detail.startswith(line), told
