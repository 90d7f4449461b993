"""edgeclip: a teacher, unpaired images and sentences, and a device in; the student it can afford out.

One function a command, with the same name::

    import edgeclip

    profile = edgeclip.profile("my-laptop")
    data = edgeclip.TrainingData("photos/", "sentences.txt")
    selection = edgeclip.SelectConfig(edgeclip.Budget(latency_ms=20))
    run = edgeclip.distill(profile, "ViT-B-16:openai", data, "runs/mine", selection=selection)
    bundle = edgeclip.export(run, "bundles/mine")
    report = edgeclip.report(bundle, profile, "testset/")

and ``edgeclip.load(path_or_name)`` for anything that encodes: a bundle, a run, a teacher.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api.bundle import add_engines, classify, export, load, push, verify
    from .api.device import doctor, list_profiles, load_profile, profile
    from .api.project import demo, init, plan, run
    from .api.proof import compare, evaluate, measure, report, retention, write_report
    from .api.student import Trials, distill, list_teachers, resume, select, select_texts
    from .base.console import Progress, progress
    from .base.errors import BudgetError, EdgeclipError, FormatError, MissingExtra
    from .chain.report import ReportConfig
    from .data.training import TrainingData
    from .distillation.config import DistillConfig
    from .distillation.run import Run
    from .encoder import Encoder
    from .evaluation.tasks import EvaluationTask
    from .exporting.config import ExportConfig
    from .measurement.config import MeasureConfig
    from .measurement.schema import Figures
    from .profiling.schema import Budget, Profile
    from .reporting.schema import Report
    from .runtime.bundle import Bundle
    from .runtime.engines.tensorrt.config import EngineConfig
    from .selection.config import SelectConfig
    from .towers.spec import StudentSpec

__all__ = [
    "Budget",
    "BudgetError",
    "Bundle",
    "DistillConfig",
    "EdgeclipError",
    "Encoder",
    "EngineConfig",
    "EvaluationTask",
    "ExportConfig",
    "Figures",
    "FormatError",
    "MeasureConfig",
    "MissingExtra",
    "Profile",
    "Progress",
    "Report",
    "ReportConfig",
    "Run",
    "SelectConfig",
    "StudentSpec",
    "TrainingData",
    "Trials",
    "__version__",
    "add_engines",
    "classify",
    "compare",
    "demo",
    "distill",
    "doctor",
    "evaluate",
    "export",
    "init",
    "list_profiles",
    "list_teachers",
    "load",
    "load_profile",
    "measure",
    "plan",
    "profile",
    "progress",
    "push",
    "report",
    "resume",
    "retention",
    "run",
    "select",
    "select_texts",
    "verify",
    "write_report",
]
__version__ = "0.1.0"
# Naming the package must cost nothing: a module is imported when something of it is first asked for.
_NAMES = {
    "api.bundle": ("add_engines", "classify", "export", "load", "push", "verify"),
    "api.device": ("doctor", "list_profiles", "load_profile", "profile"),
    "api.project": ("demo", "init", "plan", "run"),
    "api.proof": ("compare", "evaluate", "measure", "report", "retention", "write_report"),
    "api.student": ("Trials", "distill", "list_teachers", "resume", "select", "select_texts"),
    "base.console": ("Progress", "progress"),
    "base.errors": ("BudgetError", "EdgeclipError", "FormatError", "MissingExtra"),
    "chain.report": ("ReportConfig",),
    "data.training": ("TrainingData",),
    "distillation.config": ("DistillConfig",),
    "distillation.run": ("Run",),
    "encoder": ("Encoder",),
    "evaluation.tasks": ("EvaluationTask",),
    "exporting.config": ("ExportConfig",),
    "measurement.config": ("MeasureConfig",),
    "measurement.schema": ("Figures",),
    "profiling.schema": ("Budget", "Profile"),
    "reporting.schema": ("Report",),
    "runtime.bundle": ("Bundle",),
    "runtime.engines.tensorrt.config": ("EngineConfig",),
    "selection.config": ("SelectConfig",),
    "towers.spec": ("StudentSpec",),
}
_WHERE = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import what is asked for."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_WHERE[name]}", __name__), name)


def __dir__() -> list[str]:
    """What there is, whether or not it was asked for yet."""
    return sorted({*globals(), *__all__})
