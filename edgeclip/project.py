"""A project: one file that says what is wanted, and the chain from one's own images to a report."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, model_validator

from .console import say
from .device.schema import Budget, Profile
from .documents import Document, read_document
from .errors import EdgeclipError
from .files import writable, write_text
from .folders import locked, new_folder
from .loading import refuse_code
from .steps import THERE, announce, chosen_student, command_of, exported_run, judge_on, profiled
from .trust import is_ours, sign

if TYPE_CHECKING:
    from .distill.config import DistillConfig
    from .distill.run import Run
    from .report.schema import Report
    from .runtime.bundle import Bundle

FILE = "project.toml"
HERE = "here"  # a profile that is measured
PROBE_SECONDS = 60.0
REPORT_SECONDS = 20.0
EXAMPLE = """\
# What `edgeclip run` does with this folder: from your images to a student for your device, and a report of it.
# Paths are below this folder, or absolute.

teacher = "ViT-B-16:openai"    # `edgeclip teachers` lists them; "demo" is a small one that needs no download
profile = "here"               # measure this machine; or a name of `edgeclip profiles`, or a profile's file
# engine = "onnxruntime"       # what is to run on this machine; without it, its accelerator's engine or onnxruntime
# provider = "CPUExecutionProvider"
images = "images"              # your pictures, without captions: the more, the better
texts = "sentences.txt"        # sentences, one a line; or, for one task:  classes = "classes.txt"
dataset = "testset"            # labelled pictures to prove it on: one folder a class

[budget]                       # what the student may cost on the device
latency_ms = 20                # p90 of one image
# memory_mb = 500
# size_mb = 50
# accuracy_drop = 5            # points of top-1 below the teacher

[distill]                      # `edgeclip distill --write-config FILE` shows all settings
epochs = 100
"""
SIGNED = """\
signature = "{}"
# By it edgeclip knows that you began this project, here: a teacher that is code (module:factory) runs unasked.

"""
NOTES = {
    "images/README.txt": "Put your pictures here, as they are: no captions, any size, below folders if you like.\n",
    "testset/README.txt": "Put labelled pictures here: one folder a class, whose name is the class's name.\n",
    "sentences.txt": "",
}


class Project(Document):
    """``project.toml``."""

    FORMAT: ClassVar[str] = "edgeclip-project"
    BY_HAND: ClassVar[bool] = True

    teacher: str
    more_teachers: list[str] = []
    profile: str = HERE
    engine: str | None = None
    provider: str | None = None
    images: str
    texts: str | None = None
    classes: str | None = None
    dataset: str
    budget: Budget
    distill: dict[str, Any] = Field(default_factory=dict)  # as in `edgeclip distill --config`
    signature: str | None = None  # of `edgeclip init`

    @model_validator(mode="after")
    def _sentences(self) -> Project:
        if (self.texts is None) == (self.classes is None):
            raise ValueError("give either texts or classes")
        if self.profile != HERE and (self.engine or self.provider):
            raise ValueError(
                f'engine, provider: profile {self.profile!r} names its own; leave them out, or "{HERE}" in it'
            )
        if not self.budget.model_dump(exclude_none=True, exclude={"accuracy_drop"}):
            raise ValueError("budget: say latency_ms, memory_mb or size_mb")
        return self


def init_project(folder: Path) -> None:
    """Write a commented ``project.toml`` into ``folder``, and places for one's data; what is there stays.

    Raises:
        EdgeclipError: there is a project, or the folder cannot be written to.
    """
    writable(folder)
    if (folder / FILE).exists():
        raise EdgeclipError(f"{folder / FILE} is there: edgeclip run {folder} does what it says")
    for name, text in NOTES.items():
        if not (folder / name).exists():
            write_text(folder / name, text)
    signature = sign(FILE, str(folder.resolve()))
    write_text(
        folder / FILE, (SIGNED.format(signature) if signature else "") + EXAMPLE
    )  # last: it says that all is there


def run_project(folder: Path, *, few_images: bool = False, trust: bool = False) -> Report:
    """Profile, select, distil, export and report, in ``folder``; what is there and valid is used again.

    ``few_images`` accepts accuracy that more images would have to decide, ``trust`` code that is named as a teacher in
    a project that this user did not begin in this folder.

    Raises:
        EdgeclipError: there is no project, its file has faults, an input is missing or unfit, or it is in use.
    """
    if not (folder / FILE).is_file():
        raise EdgeclipError(f"{folder} is no project (no {FILE} there): edgeclip init {folder} begins one")
    project = read_document(folder / FILE, Project)
    if not (trust or is_ours(project.signature, FILE, str(folder.resolve()))):
        refuse_code([project.teacher, *project.more_teachers], folder / FILE)
    config = _settings(folder, project)
    _check_inputs(folder, project)
    with locked(folder):
        profile = _profile(folder, project)
        run = _distil(folder, project, profile, config)
        say(f"[3/4] export -> {folder}/bundle/")
        elsewhere = None if project.profile == HERE else profile
        bundle = exported_run(run, folder / "bundle", threads=profile.runtime.threads, profile=elsewhere)
        return _report(folder, project, profile, bundle, few_images=few_images)


def _settings(folder: Path, project: Project) -> DistillConfig:
    from pydantic import ValidationError

    from .distill.config import DistillConfig

    try:
        return DistillConfig.model_validate(project.distill)
    except ValidationError as error:
        faults = "; ".join(f"distill.{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise EdgeclipError(f"{folder / FILE}: {faults}") from error


def _check_inputs(folder: Path, project: Project) -> None:
    """Look at what can be wrong before a minute is spent."""
    from .data.sentences import refuse_unfit
    from .data.sources import refuse_missing
    from .device.store import load_profile
    from .evaluate.datasets import open_dataset

    if project.profile != HERE:
        load_profile(_profile_name(folder, project))
    refuse_missing(_place(folder, project.images))
    refuse_unfit(Path(_place(folder, str(project.texts or project.classes))))
    open_dataset(_place(folder, project.dataset))


def _place(folder: Path, name: str) -> str:
    """A path of the project's file, which is below its folder, unless it is absolute, or no path at all."""
    return name if name.startswith(("hf:", "http://", "https://", "hub:", "torchvision:")) else str(folder / name)


def _profile_name(folder: Path, project: Project) -> str:
    return str(folder / project.profile) if project.profile.endswith(".toml") else project.profile


def _profile(folder: Path, project: Project) -> Profile:
    from .device.store import load_profile

    if project.profile == HERE:
        say(f"[1/4] profile this device -> {folder}/profile.toml")
        asked: dict[str, Any] = {"engine": project.engine, "provider": project.provider}
        found = profiled(folder / "profile.toml", HERE, seconds=PROBE_SECONDS, **asked)
    else:
        say(f"[1/4] profile: {project.profile}")
        found = load_profile(_profile_name(folder, project))
    return found.model_copy(update={"budget": project.budget})


def _distil(folder: Path, project: Project, profile: Profile, config: DistillConfig) -> Run:
    """Select and distil; an interrupted run is gone on with, a finished one is used again."""
    from .distill import distill
    from .distill.run import Run
    from .loading import open_teacher
    from .rehearsal import rehearse

    run, spec_file, teachers = folder / "run", folder / "student.json", [project.teacher, *project.more_teachers]
    say(f"[2/4] select and distil -> {spec_file}, {run}/")
    config.save(folder / "distill.toml")
    dataset, sentences = _place(folder, project.dataset), Path(_place(folder, str(project.texts or project.classes)))
    named = folder / "profile.toml" if project.profile == HERE else _profile_name(folder, project)
    words = {"profile": named, **project.budget.model_dump(exclude_none=True), "teacher": teachers}
    words |= {"images": _place(folder, project.images), "classes" if project.classes else "texts": sentences}
    announce("edgeclip distill", **words, config=folder / "distill.toml", dataset=dataset, out=run)
    there = (run / "run.json").is_file()
    if there and Run.open(run).document.status == "finished":
        changed = [name for name, value in config if value != getattr(Run.open(run).document.config, name)]
        if changed:
            raise EdgeclipError(f"{run} was made with another {', '.join(changed)}: remove it to make it anew")
        say(THERE)
        return Run.open(run)
    opened = [open_teacher(name) for name in teachers]
    spec = Run.open(run).document.spec if there else chosen_student(profile, opened[0].image_size)
    spec.save(spec_file)
    asked: dict[str, Any] = {"classes": project.classes is not None, "config": config, "resume": there}
    asked |= {"dataset": str(Path(dataset).absolute()), "judge": judge_on(dataset), "rehearsal": rehearse}
    return distill(spec, opened, _place(folder, project.images), sentences, run, **asked)


def _report(folder: Path, project: Project, profile: Profile, bundle: Bundle, *, few_images: bool) -> Report:
    from .measure.proof import prove
    from .report import write_report

    say(f"[4/4] measure, and report -> {folder}/report/")
    dataset, out, own = Path(_place(folder, project.dataset)), folder / "report", project.profile == HERE
    limits = project.budget.model_dump(exclude_none=True)
    named = folder / "profile.toml" if own else _profile_name(folder, project)
    words = {"profile": named, "dataset": dataset, "teacher": project.teacher, **limits, "out": out}
    words |= {"other_device": not own, "few_images": few_images}
    command = command_of(f"edgeclip report {shlex.quote(str(bundle.path))}", **words)
    say(f"      $ {command}")
    asked: dict[str, Any] = {"teacher": project.teacher, "seconds": REPORT_SECONDS, "budget": limits}
    asked |= {"command": command, "profile_name": str(named)}
    found = prove(bundle.path, profile, dataset, **asked, other_device=not own, few_images=few_images)
    with new_folder(out, "report", "report.json", force=True) as scratch:
        write_report(found, scratch)
    return found
