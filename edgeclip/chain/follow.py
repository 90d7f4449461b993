"""Do what a project's file says: from one's own images to a report. What is there and still as asked for is kept."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..base.console import say
from ..base.documents import read_document
from ..base.folders import locked, new_folder
from ..data.training import TrainingData
from .project import HERE, Project, check_inputs, place, profile_name, read_project
from .stages import AFTER, GONE, STAGES, Made, Planned, Stage, plan, refuse_others, set_aside, settings_of
from .steps import THERE, announce, chosen_student, exported, profiled, refuse_anothers

if TYPE_CHECKING:
    from ..distillation.run import Run
    from ..distillation.teachers import Teacher
    from ..profiling.schema import Profile
    from ..reporting.schema import Report
    from ..runtime.bundle import Bundle
    from ..towers.spec import StudentSpec

PROBE_SECONDS = 60.0
REPORT_SECONDS = 20.0
RESULTS: dict[Stage, str] = {
    "profile": "profile.toml",
    "select": "student.json",
    "distill": "run/run.json",
    "export": "bundle/bundle.json",
    "report": "report/report.json",
}
Ask = Callable[[str], bool]
T = TypeVar("T")


def planned_project(
    folder: Path, *, few_images: bool = False, trust: bool = False, again: Stage | None = None
) -> list[Planned]:
    """What :func:`run_project` would do, stage by stage.

    Raises:
        EdgeclipError: there is no project, or its file has faults.
    """
    project = read_project(folder, trust=trust)
    settings = settings_of(folder, project) | {"few_images": few_images}
    return plan(Made.of(folder), settings, again, gone=_gone(folder, project))


def run_project(
    folder: Path, *, few_images: bool = False, trust: bool = False, again: Stage | None = None, ask: Ask | None = None
) -> Report:
    """Profile, select, distil, export and report, in ``folder``.

    What an earlier call made is kept where the settings that it depends on are as they were; what has changed is said,
    and what depends on it is made again. A run that was trained is set aside before another takes its place.

    Args:
        folder: with ``project.toml``.
        few_images: accepts accuracy that more images would have to decide.
        trust: allows code that is named as a teacher in a project that this user did not begin in this folder.
        again: a stage to make again, with those after it.
        ask: answers a question; None where nobody is there to.

    Raises:
        EdgeclipError: there is no project, its file has faults, an input is missing or unfit, a file of the user's is
            in the way, or the project is in use.
    """
    project = read_project(folder, trust=trust)
    check_inputs(folder, project)
    with locked(folder):
        made = Made.of(folder)
        refuse_others(folder, made)
        settings = settings_of(folder, project) | {"few_images": few_images}
        todo = {stage.stage: stage for stage in plan(made, settings, again, gone=_gone(folder, project))}
        _tell(todo)
        work = _Work(folder, project, made, settings, todo, ask)
        profile = work.profile()
        run = work.distil(profile)
        bundle = work.export(run, profile)
        return work.report(profile, bundle, few_images=few_images)


def _gone(folder: Path, project: Project) -> set[Stage]:
    """The stages whose result does not lie in the project's folder."""
    return {
        stage
        for stage, name in RESULTS.items()
        if not (folder / name).is_file() and (stage != "profile" or project.profile == HERE)
    }


def _tell(todo: Mapping[Stage, Planned]) -> None:
    """What has changed since the last call, and what is made again therefore."""
    changed = [
        planned for planned in todo.values() if planned.does == "make again" and not planned.why.startswith(AFTER)
    ]
    reasons = {"--again": "asked for again", GONE: GONE}
    for planned in changed:
        say(f"{planned.stage}: {reasons.get(planned.why) or f'changed since it was made: {planned.why}'}")
    if again := [planned.stage for planned in todo.values() if planned.does == "make again"]:
        say(f"made again: {', '.join(again)}")


@dataclass
class _Work:
    """The stages of one call."""

    folder: Path
    project: Project
    made: Made
    settings: dict[str, Any]
    todo: dict[Stage, Planned]
    ask: Ask | None
    _teachers: list[Teacher] = field(default_factory=list)

    def _made(self, stage: Stage, use: Callable[[], T], make: Callable[[], T]) -> T:
        """What an earlier call made, or makes it."""
        if self.todo[stage].does == "there":
            say(THERE)
            return use()
        with self.made.making(self.folder, stage, self.settings):
            return make()

    @property
    def _anew(self) -> set[Stage]:
        """Stages of which nothing that is there may be used."""
        return {stage for stage, planned in self.todo.items() if planned.does == "make again"}

    @property
    def _own(self) -> bool:
        """Whether the profile is measured here."""
        return self.project.profile == HERE

    @property
    def _named(self) -> str | Path:
        """What a command opens the profile by."""
        return self.folder / "profile.toml" if self._own else profile_name(self.folder, self.project)

    def _place(self, name: str | None) -> str:
        return place(self.folder, str(name))

    def teachers(self) -> list[Teacher]:
        """Opened once, before anything that takes long."""
        from .loading import open_teacher

        if not self._teachers:
            self._teachers = [open_teacher(name) for name in (self.project.teacher, *self.project.more_teachers)]
        return self._teachers

    def _check_data(self) -> None:
        from ..distillation.pipeline import check_data

        check_data(self.teachers(), self._data(), self.project.settings)

    def _data(self) -> TrainingData:
        project = self.project
        images, sentences = self._place(project.images), Path(self._place(project.texts or project.classes))
        return TrainingData(images, classes=sentences) if project.classes else TrainingData(images, sentences)

    def profile(self) -> Profile:
        """Of this device, or the one that is named; with the project's budget."""
        from ..profiling.store import load_profile

        if self.todo["distill"].does != "there":
            self._check_data()
        file = self.folder / "profile.toml"
        if self._own:
            say(f"[1/5] profile this device -> {file}")
            profile = self._made("profile", lambda: load_profile(file), lambda: self._measured(file))
            profile = self._doubted(profile, file)
        else:
            say(f"[1/5] profile: {self.project.profile}")
            profile = self._made("profile", *2 * (lambda: load_profile(str(self._named)),))
        return profile.model_copy(update={"budget": self.project.budget})

    def _measured(self, file: Path) -> Profile:
        runtime: dict[str, Any] = {"engine": self.project.engine, "provider": self.project.provider}
        if self.todo["profile"].does == "make" and file.exists():
            refuse_anothers(file)
        return profiled(file, HERE, seconds=PROBE_SECONDS, anew="profile" in self._anew, **runtime)

    def _doubted(self, profile: Profile, file: Path) -> Profile:
        """A profile that a restless machine gave is told of at each use, and measured again where the user wants."""
        if not profile.flags:
            return profile
        for note in profile.notes:
            say(f"      doubt: {note}")
        if self.ask and self.ask("Measure this device again?"):
            for stage in STAGES[1:]:
                if self.todo[stage].does in ("there", "go on"):
                    self.todo[stage] = Planned(stage, "make again", f"{AFTER}profile")
            runtime: dict[str, Any] = {"engine": profile.runtime.name, "provider": profile.runtime.provider}
            with self.made.making(self.folder, "profile", self.settings):
                return profiled(file, HERE, seconds=PROBE_SECONDS, anew=True, **runtime)
        say(f"      edgeclip run {shlex.quote(str(self.folder))} --again profile measures it again")
        return profile

    def student(self, profile: Profile) -> StudentSpec:
        """The best that fits the budget."""
        from ..towers.spec import StudentSpec

        file = self.folder / "student.json"

        def chosen() -> StudentSpec:
            spec = chosen_student(profile, self.teachers()[0].image_size)
            self.made.write(self.folder, file.name, spec)
            return spec

        return self._made("select", lambda: read_document(file, StudentSpec), chosen)

    def distil(self, profile: Profile) -> Run:
        """Select and distil; an interrupted run is gone on with, one that is not what is asked for is set aside."""
        from ..distillation.run import Run

        out, project = self.folder / "run", self.project
        say(f"[2/5] select -> {self.folder / 'student.json'}")
        words = {"profile": self._named, **project.budget.model_dump(exclude_none=True, exclude={"accuracy_drop"})}
        announce("edgeclip select", **words, out=self.folder / "student.json")
        spec = self.student(profile)
        say(f"[3/5] distil -> {out}/")
        names = {"teacher": [project.teacher, *project.more_teachers], "images": self._place(project.images)}
        names |= {"classes" if project.classes else "texts": self._place(project.texts or project.classes)}
        files = {"spec": self.folder / "student.json", "config": self.folder / "distill.toml"}
        announce("edgeclip distill", profile=self._named, **names, **files, out=out)
        self.made.write(self.folder, "distill.toml", self.project.settings)
        self._keep_same(spec, out)
        return self._made("distill", lambda: Run.open(out), lambda: self._distilled(spec, out))

    def _keep_same(self, spec: StudentSpec, out: Path) -> None:
        """A run of the same student is not begun again, though its choice was made again."""
        from ..distillation.run import Run

        if not self.todo["distill"].why.startswith(AFTER) or not (out / "run.json").is_file():
            return
        run = Run.open(out)
        if run.document.spec.vision_cfg == spec.vision_cfg:
            say("      the same student as before: its run is kept")
            run.document.spec = spec
            run.save()
            self.made.stages["distill"].after = None
            there = run.document.status == "finished"
            self.todo["distill"] = Planned("distill", "there" if there else "go on")

    def _distilled(self, spec: StudentSpec, out: Path) -> Run:
        from ..distillation import distill
        from .rehearsal import rehearse

        if "distill" in self._anew and (kept := set_aside(out)):
            say(f"      the run so far is kept as {kept}/: delete it when you no longer need it")
        begun: dict[str, Any] = {"resume": (out / "run.json").is_file(), "rehearsal": rehearse}
        return distill(spec, self.teachers(), self._data(), out, config=self.project.settings, **begun)

    def export(self, run: Run, profile: Profile) -> Bundle:
        """The student's bundle, for the profile's target."""
        from ..runtime.bundle import Bundle

        out, threads = self.folder / "bundle", profile.runtime.threads
        say(f"[4/5] export -> {out}/")
        announce(f"edgeclip export {shlex.quote(str(run.path))}", profile=self._named, out=out)
        made: dict[str, Any] = {"threads": threads, "target": profile}
        return self._made("export", lambda: Bundle.open(out), lambda: exported(str(run.path), out, ("auto",), **made))

    def report(self, profile: Profile, bundle: Bundle, *, few_images: bool) -> Report:
        """Measured and judged; kept where nothing has changed."""
        from ..reporting.schema import Report

        out = self.folder / "report"
        say(f"[5/5] measure, and report -> {out}/")
        there = lambda: read_document(out / "report.json", Report)  # noqa: E731 (as the others)
        return self._made("report", there, lambda: self._proved(profile, bundle, out, few_images=few_images))

    def _proved(self, profile: Profile, bundle: Bundle, out: Path, *, few_images: bool) -> Report:
        from ..reporting import write_report
        from .report import ReportConfig, make_report

        dataset = Path(self._place(self.project.dataset)) if self.project.dataset else None
        limits = self.project.budget.model_dump(exclude_none=True)
        words = {"profile": self._named, "dataset": dataset, "teacher": self.project.teacher, **limits, "out": out}
        words |= {"other_device": not self._own, "few_images": few_images}
        announce(f"edgeclip report {shlex.quote(str(bundle.path))}", **words)
        few, other = few_images, not self._own
        config = ReportConfig(self.project.teacher, seconds=REPORT_SECONDS, other_device=other, few_images=few)
        report = make_report(bundle.path, profile, dataset, budget=self.project.budget, config=config)
        with new_folder(out, "report", "report.json", force=True) as scratch:
            write_report(report, scratch)
        return report
