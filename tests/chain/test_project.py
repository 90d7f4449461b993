"""A project: begun, told what is missing, run to its report, and run again."""

import json
import re
import shutil
import sys

import pytest
from PIL import Image

from edgeclip.base import files
from edgeclip.base.documents import read_document
from edgeclip.chain.follow import run_project
from edgeclip.chain.project import EXAMPLE, FILE, Project
from edgeclip.chain.stages import STAGES
from edgeclip.device.facts import describe_device, target_here
from edgeclip.profiling.store import load_profile
from edgeclip.reporting.schema import Report
from edgeclip.runtime.manifest import Manifest

from ..test_cli import run


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
        (lambda text: text.replace("epochs = 1", "epochs = 0"), "distill: epochs: "),
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


def test_all_faults_of_the_file_are_told_at_once(project):
    text = (project / FILE).read_text().replace("epochs = 1", "epochs = 0\nepoch = 3\nlr = -1")
    (project / FILE).write_text(text.replace("teacher =", "teachers =").replace("latency_ms = 50", "latency_ms = -1"))
    told = run("run", project, expect=2).stderr
    for fault in ("teacher: Field required", "teachers: unknown", "epochs: ", "epoch: unknown; did you mean", "lr: "):
        assert fault in told, fault
    assert "budget.latency_ms: " in told
    assert told.count("\n") == 1


def test_no_project_says_how_to_begin(tmp_path):
    assert f"create one with edgeclip init {tmp_path}" in run("run", tmp_path, expect=2).stderr


def stages_of(project, *more):
    return {one["stage"]: one for one in json.loads(run("run", project, "--plan", *more, "--json").stdout)}


def test_a_plan_does_nothing(project):
    before = sorted(project.rglob("*"))
    assert {one["does"] for one in stages_of(project).values()} == {"make"}
    shown = run("run", project, "--plan").stdout
    assert all(stage in shown for stage in STAGES)
    assert sorted(project.rglob("*")) == before


def test_a_file_of_ones_own_is_never_replaced(project):
    (project / "student.json").write_text("{}")
    before = sorted(project.rglob("*"))
    told = run("run", project, expect=2).stderr
    assert f"{project / 'student.json'} is not as edgeclip wrote it" in told
    assert sorted(project.rglob("*")) == before
    assert (project / "student.json").read_text() == "{}"


def test_a_profile_of_ones_own_of_another_device_is_not_measured_over(project):
    text = (project / FILE).read_text().replace('"x86-avx2-2core"', '"here"')
    (project / FILE).write_text(text)
    load_profile("raspberry-pi-5").save(project / "profile.toml")
    before = (project / "profile.toml").read_bytes()
    told = run("run", project, expect=2).stderr
    assert "is of another device" in told
    assert (project / "profile.toml").read_bytes() == before


def test_a_teacher_that_is_not_there_is_told_before_the_device_is_measured(project):
    text = re.sub('teacher = "[^"]*"', 'teacher = "local-dir:absent"', (project / FILE).read_text())
    (project / FILE).write_text(text.replace('"x86-avx2-2core"', '"here"'))
    told = run("run", project, expect=2).stderr
    assert "absent" in told and "probe" not in told
    assert not (project / "profile.toml").exists()


def test_too_little_data_and_too_little_room_are_told_before_the_device_is_measured(
    project, images_dir, monkeypatch, tmp_path
):
    (project / FILE).write_text((project / FILE).read_text().replace('"x86-avx2-2core"', '"here"'))
    monkeypatch.setattr(files, "free_bytes", lambda path: 1000)
    monkeypatch.setenv("EDGECLIP_CACHE", str(tmp_path / "cache"))  # another test may have embedded the same images
    complaint = run("run", project, expect=2).stderr.splitlines()[-1]
    assert "GB are needed, 0.00 are free: free some first" in complaint
    monkeypatch.undo()
    for picture in sorted(images_dir.iterdir())[:3]:
        shutil.copy(picture, project / "images")
    (project / FILE).write_text((project / FILE).read_text().replace(f'"{images_dir}"', '"images"'))
    complaint = run("run", project, expect=2).stderr.splitlines()[-1]
    assert complaint == "edgeclip: too few images: 3, and training needs at least 16"
    assert not (project / "profile.toml").exists()
    assert not (project / "made.json").exists()


@pytest.mark.slow
def test_from_images_to_a_report_and_again(project, monkeypatch):
    monkeypatch.setattr("edgeclip.chain.follow.REPORT_SECONDS", 1.0)

    def edit(old, new):
        text = (project / FILE).read_text()
        assert old in text
        (project / FILE).write_text(text.replace(old, new))

    def written():
        names = ("student.json", "run/run.json", "bundle/bundle.json", "report/report.json")
        return [(project / name).stat().st_mtime_ns for name in names]

    first = run("run", project, expect=None)
    report = read_document(project / "report/report.json", Report)
    assert first.exit_code == report.exit_code
    assert {line.name for line in report.criteria} >= {"latency, p90 of one image", "size of the image tower"}
    commands = [line.split()[2] for line in first.stderr.splitlines() if line.strip().startswith("$ edgeclip")]
    assert commands == ["select", "distill", "export", "report"]
    assert "edgeclip classify" in first.stderr.partition("next:")[2]

    before = written()
    (project / "mine.txt").write_text("mine")
    again = run("run", project, expect=None)
    assert (again.exit_code, again.stderr.count("already done: kept"), written()) == (first.exit_code, 5, before)

    edit("size_mb = 0.3", "size_mb = 0.3\naccuracy_drop = 99")
    assert stages_of(project)["report"]["why"] == "budget.accuracy_drop none -> 99"
    again = run("run", project, expect=None)
    assert "report: changed since it was made: budget.accuracy_drop none -> 99" in again.stderr
    assert (written()[:3], written()[3] == before[3]) == (before[:3], False)

    edit("latency_ms = 50", "latency_ms = 51")
    again = run("run", project, expect=None)
    assert "select: changed since it was made: budget.latency_ms 50 -> 51" in again.stderr
    assert "the same student as before: its run is kept" in again.stderr
    assert not (project / "run-1").exists()
    assert read_document(project / "bundle/bundle.json", Manifest).student["budget"]["latency_ms"] == 51

    trained = (project / "run/student/open_clip_model.safetensors").read_bytes()
    edit("epochs = 1", "epochs = 2")
    again = run("run", project, expect=None)
    assert "distill: changed since it was made: distill.epochs 1 -> 2" in again.stderr
    assert f"the run so far is kept as {project / 'run-1'}/" in again.stderr
    assert (project / "run-1/student/open_clip_model.safetensors").read_bytes() == trained
    assert (project / "run/student/open_clip_model.safetensors").read_bytes() != trained
    assert (project / "mine.txt").read_text() == "mine"
    assert {one["does"] for one in stages_of(project).values()} == {"there"}
    assert stages_of(project, "--again", "export")["report"]["why"] == "after export"
    shutil.rmtree(project / "bundle")
    assert stages_of(project)["export"]["why"] == "its output is gone"
    again = run("run", project, expect=None)
    assert "export: its output is gone" in again.stderr
    assert (project / "bundle/bundle.json").is_file()


def test_a_doubtful_profile_is_told_of_and_measured_again_where_that_is_wanted(project, monkeypatch):
    text = (project / FILE).read_text().replace('"x86-avx2-2core"', '"here"')
    (project / FILE).write_text(text)
    own = {"device": describe_device(), "runtime": target_here().runtime, "name": "here"}
    quiet = load_profile("x86-avx2-2core").model_copy(update={**own, "flags": [], "notes": []})
    busy = quiet.model_copy(update={"flags": ["busy"], "notes": ["other work was running"]})
    answers, measured = iter([busy, quiet]), []

    def measure(name, **asked):
        measured.append(asked["engine"])
        return next(answers)

    monkeypatch.setattr("edgeclip.profiling.probe.profile", measure)
    monkeypatch.setattr("edgeclip.chain.follow._Work.distil", lambda work, profile: sys.exit(9))
    told = run("run", project, expect=9).stderr
    assert "doubt: other work was running" in told and f"edgeclip run {project} --again profile" in told
    again = run("run", project, expect=9).stderr
    assert "doubt: other work was running" in again and len(measured) == 1, "it is told at each use"
    with pytest.raises(SystemExit):
        run_project(project, ask=lambda question: True)
    assert measured == [None, quiet.runtime.name]
    assert load_profile(project / "profile.toml").flags == []
    assert "doubt: " not in run("run", project, expect=9).stderr


@pytest.mark.slow
def test_labels_are_optional_and_without_them_nothing_passes(project, monkeypatch):
    monkeypatch.setattr("edgeclip.chain.follow.REPORT_SECONDS", 1.0)
    text = (project / FILE).read_text()
    (project / FILE).write_text(re.sub('dataset = "[^"]*"', "", text))
    told = run("run", project, expect=None)
    report = read_document(project / "report/report.json", Report)
    assert told.exit_code == report.exit_code in (3, 4)
    (chance,) = [one for one in report.criteria if one.kind == "chance"]
    assert (chance.met, chance.measured) == (None, None)
    assert all(row.top1 is None for row in report.rows)
    assert '--labels "a cat,a dog"' in told.stderr or "--labels 'a cat,a dog'" in told.stderr


def test_an_engine_is_of_the_machine_that_is_profiled(project):
    text = (project / FILE).read_text()
    (project / FILE).write_text(
        'engine = "onnxruntime"\n' + re.sub('profile = ".*"', 'profile = "raspberry-pi-5"', text)
    )
    told = run("run", project, expect=2).stderr
    assert "engine, provider: profile 'raspberry-pi-5' names its own" in told


@pytest.mark.parametrize("in_the_way", ["images", "testset", "sentences.txt/deep"])
def test_a_folder_that_refuses_one_file_gets_none(in_the_way, tmp_path):
    folder = tmp_path / "new/mine"
    if "/" in in_the_way:
        folder = tmp_path / "file/mine"
        (tmp_path / "file").write_text("mine")
    else:
        folder.mkdir(parents=True)
        (folder / in_the_way).write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    assert run("init", folder, expect=2).stderr.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before
