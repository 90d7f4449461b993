"""A project: begun, told what is missing, run to its report, and run again."""

import json
import re

import pytest
from PIL import Image

from edgeclip.documents import read_document
from edgeclip.project import EXAMPLE, FILE, Project
from edgeclip.report.schema import Report

from .test_cli import run


@pytest.fixture
def project(tmp_path, teacher_dir, images_dir, texts_file):
    """A project with data, whose device's profile is another's: nothing is probed."""
    folder = tmp_path / "project"
    run("init", folder)
    text = EXAMPLE.replace("ViT-B-16:openai", f"local-dir:{teacher_dir}").replace('"here"', '"x86-avx2-2core"')
    text = text.replace('"images"', f'"{images_dir}"').replace("latency_ms = 20", "latency_ms = 50\nsize_mb = 0.3")
    (folder / FILE).write_text(text.replace("epochs = 100", 'epochs = 1\nbatch_size = 20\nviews = 1\ntracker = "none"'))
    (folder / "sentences.txt").write_text(texts_file.read_text())
    for color in ("red", "green", "blue"):
        (folder / "testset" / color).mkdir()
        Image.new("RGB", (40, 40), color).save(folder / "testset" / color / "1.png")
    return folder


def test_what_begins_a_project_is_a_project(tmp_path):
    told = json.loads(run("init", tmp_path / "mine", "--json").stdout)
    assert told["project"] == str(tmp_path / "mine" / FILE)
    assert read_document(tmp_path / "mine" / FILE, Project).budget.latency_ms == 20
    assert {one.name for one in (tmp_path / "mine").iterdir()} == {FILE, "images", "testset", "sentences.txt"}
    assert "edgeclip run" in run("init", tmp_path / "mine", expect=2).stderr


def test_beginning_leaves_what_is_there(tmp_path):
    (tmp_path / "sentences.txt").write_text("a cat\n")
    run("init", tmp_path)
    assert (tmp_path / "sentences.txt").read_text() == "a cat\n"


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda text: text.replace('images = "', 'images = "absent-'), "absent-"),
        (lambda text: text.replace('texts = "', 'texts = "absent-'), "no such file of sentences"),
        (lambda text: text.replace('dataset = "', 'dataset = "absent-'), "absent-testset"),
        (lambda text: text.replace("x86-avx2-2core", "x86-avx2-3core"), "did you mean x86-avx2-2core"),
        (lambda text: text.replace("epochs = 1", "epochs = 0"), "distill.epochs: "),
        (lambda text: text.replace("latency_ms = 50\nsize_mb = 0.3", ""), "say latency_ms"),
        (lambda text: text.replace("dataset =", "datasets ="), "datasets: unknown; did you mean dataset"),
        (lambda text: text.replace("texts =", 'classes = "c.txt"\ntexts ='), "give either texts or classes"),
        (lambda text: text + "[", "not valid TOML"),
    ],
)
def test_what_is_missing_is_one_line_before_any_work(project, spoil, complaint):
    (project / FILE).write_text(spoil((project / FILE).read_text()))
    before = sorted(project.rglob("*"))
    told = run("run", project, expect=2).stderr
    assert complaint in told
    assert told.count("\n") == 1
    assert sorted(project.rglob("*")) == before


def test_no_project_says_how_to_begin(tmp_path):
    assert f"edgeclip init {tmp_path} begins one" in run("run", tmp_path, expect=2).stderr


@pytest.mark.slow
def test_from_images_to_a_report_and_again(project, monkeypatch):
    monkeypatch.setattr("edgeclip.project.REPORT_SECONDS", 1.0)
    first = run("run", project, expect=None)
    report = read_document(project / "report/report.json", Report)
    assert first.exit_code == report.exit_code
    assert {line.name for line in report.criteria} >= {"latency, p90 of one image", "size of the image tower"}
    commands = [line.strip() for line in first.stderr.splitlines() if line.strip().startswith("$ edgeclip")]
    assert [line.split()[2] for line in commands] == ["distill", "export", "report"]
    trained = (project / "run/student/open_clip_model.safetensors").stat().st_mtime_ns
    (project / "mine.txt").write_text("mine")
    monkeypatch.setattr("edgeclip.project._report", lambda *_, **__: report)  # which is made each time
    again = run("run", project, expect=None)
    assert again.stderr.count("there already") == 2
    assert (project / "run/student/open_clip_model.safetensors").stat().st_mtime_ns == trained
    assert (project / "mine.txt").read_text() == "mine"
    (project / FILE).write_text((project / FILE).read_text().replace("epochs = 1", "epochs = 2"))
    assert "was made with another epochs" in run("run", project, expect=2).stderr


def test_an_engine_is_of_the_machine_that_is_profiled(project):
    text = (project / FILE).read_text()
    (project / FILE).write_text(
        'engine = "onnxruntime"\n' + re.sub('profile = ".*"', 'profile = "raspberry-pi-5"', text)
    )
    told = run("run", project, expect=2).stderr
    assert "engine, provider: profile 'raspberry-pi-5' names its own" in told
