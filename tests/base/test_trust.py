"""A file from elsewhere runs nothing and leads nowhere: only what this user wrote here is taken at its word."""

import json
import shutil
from pathlib import Path

import pytest

from edgeclip.base.documents import read_document
from edgeclip.base.seal import sealed
from edgeclip.base.trust import is_ours, sign
from edgeclip.device.facts import describe_device
from edgeclip.distillation.config import DistillConfig
from edgeclip.distillation.run import Run
from edgeclip.profiling.store import load_profile
from edgeclip.reporting.schema import Report
from edgeclip.runtime.bundle import Bundle

from ..test_cli import run

EVIL = """
from pathlib import Path
Path({mark!r}).write_text("ran")
from edgeclip import load

def make():
    return load({teacher!r})
"""


@pytest.fixture
def evil(tmp_path, monkeypatch, teacher_dir):
    """A module in the folder one works in, and what it leaves behind when it runs."""
    work = tmp_path / "work"
    work.mkdir()
    (work / "evilmod.py").write_text(EVIL.format(mark=str(tmp_path / "ran"), teacher=f"local-dir:{teacher_dir}"))
    monkeypatch.chdir(work)
    monkeypatch.delitem(__import__("sys").modules, "evilmod", raising=False)
    yield tmp_path / "ran"
    __import__("sys").modules.pop("evilmod", None)


@pytest.fixture(scope="module")
def finished(spec, teacher_dir, images_dir, texts_file, tmp_path_factory):
    """A run, and its bundle, made here."""
    folder = tmp_path_factory.mktemp("made")
    spec.save(folder / "spec.json")
    DistillConfig(epochs=1, batch_size=10, views=2).save(folder / "config.toml")
    words = ["distill", "--profile", "x86-avx2-2core", "--teacher", f"local-dir:{teacher_dir}", "--images", images_dir]
    words += ["--texts", texts_file, "--spec", folder / "spec.json", "--config", folder / "config.toml"]
    run(*words, "--out", folder / "run")
    run("export", folder / "run", "--out", folder / "bundle", "--precision", "fp32")
    return folder


def rewritten(file, **changes):
    file.chmod(0o644)
    file.write_text(json.dumps(sealed(json.loads(file.read_text()) | changes)))


pytestmark = pytest.mark.usefixtures("few_samples")


def reported(bundle, dataset, out, *more, expect=None):
    profile = out.parent / "profile.toml"
    load_profile("x86-avx2-2core").model_copy(update={"device": describe_device(), "name": "here"}).save(profile)
    words = ["report", bundle, "--profile", profile, "--dataset", dataset, "--out", out, "--seconds", 1]
    told = run(*words, "--latency-ms", 1000, *more, expect=expect)
    return told.stderr, [row.stage for row in read_document(out / "report.json", Report).rows]


def test_what_this_user_signed_is_known_again(monkeypatch, tmp_path):
    one = sign("run", "there", "teacher")
    assert is_ours(one, "run", "there", "teacher")
    for words in (("run", "there", "other"), ("runt", "here", "teacher"), ("run", "there")):
        assert not is_ours(one, *words)
    assert not is_ours(None, "run", "there", "teacher")
    assert not is_ours("0" * 64, "run", "there", "teacher")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "another user's"))
    assert not is_ours(one, "run", "there", "teacher"), "another user has another key"
    sign("x")
    key = tmp_path / "another user's/edgeclip/key"
    assert key.stat().st_mode & 0o077 == 0
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    assert sign("x") is None and not is_ours(one, "run", "there", "teacher"), "where no key can be kept, all is foreign"


def test_a_report_follows_a_bundle_that_was_exported_here(finished, labelled_dir, tmp_path):
    _, stages = reported(finished / "bundle", labelled_dir, tmp_path / "r")
    assert stages == ["teacher", "student fp32", "exported fp32"]


@pytest.mark.slow
def test_a_student_that_was_trained_on_since_has_no_row(finished, labelled_dir, tmp_path):
    """The run has other weights than those that were exported: its accuracy is not what the export began from."""
    shutil.copytree(finished / "bundle", tmp_path / "bundle")
    rewritten(tmp_path / "bundle/bundle.json", source_fingerprint="0" * 64)
    told, stages = reported(tmp_path / "bundle", labelled_dir, tmp_path / "r")
    assert stages == ["teacher", "exported fp32"]
    assert "has other weights than" in told


def test_a_bundle_from_elsewhere_leads_nowhere_and_runs_nothing(finished, labelled_dir, evil, tmp_path):
    shutil.copytree(finished / "run", tmp_path / "bait")
    rewritten(tmp_path / "bait/run.json", teacher="evilmod:make", signature="0" * 64)
    shutil.copytree(finished / "bundle", tmp_path / "bundle")
    rewritten(tmp_path / "bundle/bundle.json", source=str(tmp_path / "bait"), signature="f" * 64)
    told, stages = reported(tmp_path / "bundle", labelled_dir, tmp_path / "r")
    assert stages == ["exported fp32"]
    assert "was not exported here by you: --run RUN and --teacher T add the rows" in told
    told, stages = reported(tmp_path / "bundle", labelled_dir, tmp_path / "s", "--run", tmp_path / "bait")
    assert stages == ["student fp32", "exported fp32"], "a folder that the user names is read, and its code is not run"
    assert "no row for the teacher (--teacher T names one)" in told and "evilmod:make" in told
    assert not evil.exists()
    _, stages = reported(tmp_path / "bundle", labelled_dir, tmp_path / "t", "--teacher", "evilmod:make")
    assert stages[0] == "teacher" and evil.exists(), "on the user's own command line it is the user's word"


@pytest.mark.parametrize("name", ["evilmod:make", "http.server:test"])
def test_a_run_of_anothers_is_not_resumed_with_its_code_unasked(name, finished, evil, tmp_path):
    shutil.copytree(finished / "run", tmp_path / "theirs")
    rewritten(tmp_path / "theirs/run.json", teacher=name, status="running")
    told = run("distill", "--resume", tmp_path / "theirs", expect=2).stderr
    assert f"names code that would run, {name}: look at it, then say --trust" in told
    assert told.count("\n") == 1
    assert not evil.exists()


def test_a_resume_that_is_trusted_runs_it_and_is_then_ours(finished, evil, tmp_path):
    shutil.copytree(finished / "run", tmp_path / "theirs")
    rewritten(tmp_path / "theirs/run.json", teacher="evilmod:make", status="running")
    run("distill", "--resume", tmp_path / "theirs", "--trust", expect=None)
    assert evil.exists()


def test_a_run_of_ours_that_was_moved_asks_and_a_plain_teacher_never_does(finished, tmp_path):
    assert Run.open(finished / "run").ours
    shutil.copytree(finished / "run", tmp_path / "moved")
    assert not Run.open(tmp_path / "moved").ours
    run("distill", "--resume", tmp_path / "moved")


def test_a_project_of_anothers_runs_no_code(evil, images_dir, texts_file, labelled_dir, tmp_path):
    run("init", tmp_path / "mine")
    for folder in ("mine", "theirs"):
        text = (
            f'teacher = "evilmod:make"\nprofile = "raspberry-pi-5"\nimages = "{images_dir}"\ntexts = "{texts_file}"\n'
        )
        text += f'dataset = "{labelled_dir}"\nbudget = {{ latency_ms = 0.000001 }}\n'
        own = (tmp_path / "mine/project.toml").read_text().splitlines()[0] + "\n"
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "project.toml").write_text(own + text)  # a signature that was copied is of another folder
    told = run("run", tmp_path / "theirs", expect=2).stderr
    assert "evilmod:make: look at it, then say --trust" in told
    assert not evil.exists()
    run("run", tmp_path / "theirs", "--trust", expect=2)  # nothing is so fast
    assert evil.exists()
    evil.unlink()
    __import__("sys").modules.pop("evilmod", None)
    run("run", tmp_path / "mine", expect=2)
    assert evil.exists(), "the project that was begun here is the user's own"


def test_a_signature_is_in_what_is_made_here(finished):
    manifest = Bundle.open(finished / "bundle").manifest
    assert is_ours(manifest.signature, "bundle", manifest.source)
    assert Path(manifest.source) == finished / "run"
