"""Devices as they are: odd file systems, no home, other clients, too little memory, an engine that is too old."""

import io
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from edgeclip.base.errors import EdgeclipError
from edgeclip.cli.tables import findings_table
from edgeclip.measurement import agent, session, verify
from edgeclip.measurement.job import verified
from edgeclip.measurement.remote import open_remote
from edgeclip.runtime.bundle import Bundle
from edgeclip.runtime.engines.registry import find_engine
from edgeclip.runtime.onnxencoder import OnnxEncoder


def test_a_device_without_hard_links_gets_copies(server, bundle):
    """Android's Python has no ``os.link``; FAT refuses one."""
    (server.folder / "packages").mkdir()
    (server.folder / "packages/sitecustomize.py").write_text("import os\ndel os.link\n")
    with open_remote(server.address) as machine:
        assert verified(machine.verify(bundle.path))


def test_without_a_home_files_are_put_where_temporary_ones_are(server, bundle, tmp_path):
    server.stop()
    assert server.start(cache="/proc/none HOME=/proc/none", libraries=f"/usr/lib TMPDIR={tmp_path}")
    with open_remote(server.address) as machine:
        assert verified(machine.verify(bundle.path))
    there = tmp_path / f"edgeclip-{os.getuid()}"
    assert sorted(path.name for path in there.iterdir()) == ["blobs", "jobs", "lease.lock"]
    assert there.stat().st_mode & 0o077 == 0, "nobody else reads it"


def test_nowhere_to_put_files_names_the_way_out_which_works(server, bundle, monkeypatch, tmp_path):
    server.stop()
    assert server.start(cache="/proc/none HOME=/proc/none")
    shared = tmp_path / "not a folder"
    shared.touch()
    with pytest.raises(EdgeclipError) as error, open_remote(f"{server.address}?folder={shared}/x"):
        pass
    assert "nowhere to put files" in str(error.value) and "?folder=PATH" in str(error.value)
    with open_remote(f"{server.address}?folder={tmp_path}/put%20here") as machine:
        assert verified(machine.verify(bundle.path))
    assert (tmp_path / "put here/blobs").is_dir()


def test_a_folder_that_another_user_put_there_is_not_used(monkeypatch, tmp_path):
    monkeypatch.setattr(agent, "shared_place", lambda: tmp_path / "edgeclip-0")
    (tmp_path / "edgeclip-0").mkdir()
    if os.geteuid():
        pytest.skip("only root makes another's folder")
    os.chown(tmp_path / "edgeclip-0", 12345, -1)
    with pytest.raises(OSError, match="another user's"):
        agent.prepared(tmp_path / "edgeclip-0")
    with pytest.raises(OSError, match="not UTF-8"):
        agent.prepared(tmp_path / os.fsdecode(b"caf\xe9"))


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(session, "WAIT_SECONDS", 0.1)


@pytest.mark.parametrize("count", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_two_clients_at_once_wait_for_each_other(count, server, bundle, impatient):
    found, failed = [], []

    def client():
        try:
            with open_remote(server.address) as machine:
                found.append(verified(machine.verify(bundle.path)))
        except EdgeclipError as error:
            failed.append(str(error))

    clients = [threading.Thread(target=client) for _ in range(count)]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    assert (found, failed) == ([True] * count, [])
    assert list((server.cache / "jobs").iterdir()) == []


def test_who_has_the_device_is_named_and_one_that_died_is_waited_for_no_longer(server, impatient, capsys):
    server.cache.mkdir(parents=True)
    lease = server.cache / "lease.json"
    lease.write_text(json.dumps({"token": "another", "owner": "ada@desk"}))

    def dies():
        while "in use by" not in capsys.readouterr().err:
            time.sleep(0.05)
        os.utime(lease, (0, time.time() - agent.LEASE_SECONDS))

    watcher = threading.Thread(target=dies)
    watcher.start()
    with open_remote(server.address):
        watcher.join()
        assert json.loads(lease.read_text())["token"] != "another"
    assert not lease.exists(), "it is free again"


def test_an_agent_that_nobody_asks_ends(tmp_path):
    source = Path(agent.__file__).read_text().replace("IDLE_SECONDS = 900", "IDLE_SECONDS = 1")
    (tmp_path / "agent.py").write_text(source + "\nserve('x')\n")
    process = subprocess.Popen([sys.executable, tmp_path / "agent.py"], stdin=subprocess.PIPE)
    assert process.wait(timeout=60) < 0, "by a signal"
    process.stdin.close()


def test_what_does_not_fit_is_read_all_the_same(tmp_path):
    """Else the next command would be taken from the middle of a file."""
    told = agent.Agent(io.BytesIO(b"x" * 10 + b"next"))
    with pytest.raises(OSError, match="No such file"):
        told.append(str(tmp_path / "no folder/file"), 10)
    assert told.source.read() == b"next"


def test_a_bundle_of_links_runs(bundle, tmp_path):
    """As a hub's cache has it: each file is a link to one elsewhere."""
    for file in bundle.path.iterdir():
        (tmp_path / "blobs").mkdir(exist_ok=True)
        (tmp_path / "snapshot").mkdir(exist_ok=True)
        shutil.copy(file, tmp_path / "blobs" / f"0{file.name}")
        (tmp_path / "snapshot" / file.name).symlink_to(tmp_path / "blobs" / f"0{file.name}")
    done = subprocess.run([sys.executable, tmp_path / "snapshot/run.py", "verify"], capture_output=True, text=True)
    assert json.loads(done.stdout)["verified"], done.stderr
    assert Bundle.open(tmp_path / "snapshot").sha256 == bundle.sha256


@pytest.mark.parametrize(("ir", "opset"), [(99, 17), (8, 99)])
def test_a_graph_that_is_too_new_says_what_to_upgrade(ir, opset, tmp_path):
    number = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [number("x", 1, [1])], [number("y", 1, [1])]
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=ir)
    (tmp_path / "new.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(EdgeclipError, match=r"too old for it .*: pip install --upgrade onnxruntime \(edgeclip needs 1"):
        find_engine().open(tmp_path / "new.onnx")


def test_what_cannot_run_there_is_not_called_wrong(server, bundle):
    """Its onnxruntime is another: one that opens nothing."""
    (server.folder / "packages").mkdir()
    old = "import onnxruntime\n\ndef refuse(*graph, **settings):\n    raise MemoryError('out of memory')\n\n"
    old += "onnxruntime.InferenceSession = refuse\n"
    (server.folder / "packages/sitecustomize.py").write_text(old)
    told = verify(bundle.path, device=server.address)
    wrong = [finding for finding in told.findings if finding.ok is False]
    assert {finding.part for finding in wrong} >= {"text tower", "image tower fp32"}
    assert not told.verified and not any(finding.ran for finding in wrong)
    assert wrong[0].told.startswith("text tower cannot run: ")
    assert "CANNOT RUN" in str(findings_table(told).title)


def test_labels_are_embedded_here_whatever_the_device_has(bundle, monkeypatch):
    """A CUDA of the device's is none of this machine's."""
    variant = bundle.manifest.variants[0]
    encoder = OnnxEncoder(bundle.path, bundle.manifest, variant, provider="CUDAExecutionProvider")
    embeds = encoder.encode_text(["a cat"])
    assert embeds.shape == (1, bundle.manifest.embed_dim)
    assert replace(encoder.job, graph="").provider == "CUDAExecutionProvider"


def test_a_client_that_is_killed_leaves_the_device_free(server, tmp_path):
    """The connection ends with it, and with the connection what it had there."""
    script = "import sys, time\nfrom edgeclip.measurement.remote import open_remote\n"
    script += "with open_remote(sys.argv[1]): print('there', flush=True); time.sleep(600)\n"
    client = subprocess.Popen([sys.executable, "-c", script, server.address], stdout=subprocess.PIPE, text=True)
    assert client.stdout.readline() == "there\n"
    lease = server.cache / "lease.json"
    assert lease.exists()
    client.kill()
    client.wait()
    client.stdout.close()
    deadline = time.monotonic() + 60
    while lease.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not lease.exists()


def test_an_old_agent_does_not_give_away_what_a_new_one_has(tmp_path):
    """After a cut line two work for one client: the one at the dead end notices late."""
    old, new = agent.Agent(io.BytesIO()), agent.Agent(io.BytesIO())
    old.base = new.base = tmp_path
    assert old.claim("a client", "ada")["holder"] == new.claim("a client", "ada")["holder"] == ""
    lease = json.loads((tmp_path / "lease.json").read_text())
    (tmp_path / "lease.json").write_text(json.dumps({**lease, "process": lease["process"] + 1}))  # the new one's
    old.release()
    assert (tmp_path / "lease.json").exists()
