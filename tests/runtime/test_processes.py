"""Encoders where work is shared out: pickled, forked, spawned, and where there is no home and nowhere to write."""

import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys

import joblib
import numpy as np
import pytest
from PIL import Image

from edgeclip import load

IMAGES = [Image.new("RGB", (40, 30), color) for color in ("red", "teal", "white")]
TEXTS = ["a cat", "Ünïcode"]


def answers(encoder):
    return np.concatenate([encoder.encode_image(IMAGES), encoder.encode_text(TEXTS)])


@pytest.fixture(params=["bundle", "teacher"])
def encoder(request, bundle, teacher_dir):
    return load(bundle.path if request.param == "bundle" else f"local-dir:{teacher_dir}")


def test_a_pickled_encoder_gives_the_same(encoder):
    before = answers(encoder)
    again = pickle.loads(pickle.dumps(encoder))
    assert np.allclose(answers(again), before, atol=1e-6)


def test_a_bundles_pickle_holds_where_it_lies_and_no_towers(bundle):
    encoder = bundle.encoder()
    answers(encoder)
    assert len(pickle.dumps(encoder)) < 10_000


@pytest.mark.parametrize("way", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_processes_of_a_pool(encoder, way):
    """After the parent has used it: what a forked child inherits of a session must not be touched."""
    before = answers(encoder)
    with multiprocessing.get_context(way).Pool(2) as pool:
        found = pool.map_async(answers, [encoder] * 2).get(timeout=120)
    assert all(np.allclose(one, before, atol=1e-6) for one in found)


def test_a_child_that_inherits_it(encoder):
    before = answers(encoder)
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=lambda: theirs.send(answers(encoder)))
    child.start()
    assert ours.poll(120), "the child hangs"
    assert np.allclose(ours.recv(), before, atol=1e-6)
    child.join()
    assert child.exitcode == 0
    assert np.allclose(answers(encoder), before, atol=1e-6), "the parent's own goes on"


@pytest.mark.filterwarnings("ignore:A worker stopped while some jobs:UserWarning")  # it takes torch for a memory leak
@pytest.mark.parametrize("backend", [pytest.param("loky", marks=pytest.mark.slow), "threading"])
def test_joblib(encoder, backend):
    before = answers(encoder)
    found = joblib.Parallel(2, backend=backend)(joblib.delayed(answers)(encoder) for _ in range(2))
    assert all(np.allclose(one, before, atol=1e-6) for one in found)


@pytest.mark.skipif(os.name == "nt", reason="no such permissions there")
def test_a_read_only_bundle_where_there_is_no_home_and_nowhere_to_write(bundle, tmp_path):
    """As in a container: no HOME, no TMPDIR that could be written to, and the bundle's folder on a read-only mount."""
    folder = tmp_path / "bundle"
    shutil.copytree(bundle.path, folder)
    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.png")
    folder.chmod(0o555)
    bare = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path / "absent")}
    code = "import tempfile; tempfile.mkstemp = tempfile.mkdtemp = None; from edgeclip.cli import main; main()"
    words = ["classify", str(folder), str(tmp_path / "red.png"), "--labels", "red,blue", "--json"]
    before = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    done = subprocess.run(
        [sys.executable, "-c", code, *words], env=bare, cwd="/", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert '"labels"' in done.stdout
    assert {file.name: file.stat().st_mtime_ns for file in folder.iterdir()} == before
