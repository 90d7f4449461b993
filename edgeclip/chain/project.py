"""A project: one file that says what is wanted."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, ValidationError, field_validator, model_validator

from ..base.documents import Document, read_document, told
from ..base.errors import EdgeclipError
from ..base.files import writable, write_text
from ..base.trust import is_ours, sign
from ..profiling.schema import Budget
from .loading import refuse_code

if TYPE_CHECKING:
    from ..distillation.config import DistillConfig

FILE = "project.toml"
HERE = "here"  # a profile that is measured
EXAMPLE = """\
# What `edgeclip run` does with this folder: from your images to a student for your device, and a report of it.
# Paths are below this folder, or absolute.

teacher = "ViT-B-16:openai"    # `edgeclip teachers` lists them; "demo" is a small one that needs no download
profile = "here"               # measure this machine; or a name of `edgeclip profiles`, or a profile's file
# engine = "onnxruntime"       # what is to run on this machine; without it, its accelerator's engine or onnxruntime
# provider = "CPUExecutionProvider"
images = "images"              # your pictures, without captions: the more, the better
texts = "sentences.txt"        # sentences, one a line; or, for one task:  classes = "classes.txt"
dataset = "testset"            # labelled pictures to prove it on, one folder a class; without them there is no verdict

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
    dataset: str | None = None
    budget: Budget
    distill: dict[str, Any] = Field(default_factory=dict)  # as in `edgeclip distill --config`
    signature: str | None = None  # of `edgeclip init`

    @model_validator(mode="after")
    def _as_a_whole(self) -> Project:
        faults = []
        if (self.texts is None) == (self.classes is None):
            faults.append("give either texts or classes")
        if self.profile != HERE and (self.engine or self.provider):
            faults.append(
                f'engine, provider: profile {self.profile!r} names its own; leave them out, or "{HERE}" in it'
            )
        if not self.budget.model_dump(exclude_none=True, exclude={"accuracy_drop"}):
            faults.append("budget: say latency_ms, memory_mb or size_mb")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    @property
    def settings(self) -> DistillConfig:
        """Of the training."""
        from ..distillation.config import DistillConfig

        return DistillConfig.model_validate(self.distill)

    @field_validator("distill")
    @classmethod
    def _known_settings(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Faults of the training's settings stand beside the others of the file."""
        from ..distillation.config import DistillConfig

        try:
            DistillConfig.model_validate(given)
        except ValidationError as error:
            faults = (f"{'.'.join(map(str, fault['loc']))}: {told(fault, DistillConfig)}" for fault in error.errors())
            raise ValueError("; ".join(faults)) from error
        return given


def init_project(folder: Path) -> None:
    """Write a commented ``project.toml`` into ``folder``, and places for one's data; what is there stays.

    Raises:
        EdgeclipError: there is a project, or the folder cannot be written to.
    """
    writable(folder)
    if (folder / FILE).exists():
        raise EdgeclipError(f"{folder / FILE} is there: edgeclip run {folder} does what it says")
    signature = sign(FILE, str(folder.resolve()))
    # The project's own file last: it says that all is there.
    texts = {**NOTES, FILE: (SIGNED.format(signature) if signature else "") + EXAMPLE}
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    written: list[Path] = []
    try:
        for name, text in texts.items():
            file = folder / name
            if not file.exists():
                missing += [] if file.parent.exists() else [file.parent]
                write_text(file, text)
                written.append(file)
    except BaseException:
        for file in written:
            file.unlink(missing_ok=True)
        for made in sorted(missing, key=lambda path: -len(path.parts)):
            with suppress(OSError):  # what is not empty is not ours
                made.rmdir()
        raise


def read_project(folder: Path, *, trust: bool = False) -> Project:
    """``project.toml``.

    Raises:
        EdgeclipError: there is no project, its file has faults (all are named), or it names a teacher that is code and
            was not begun by this user in this folder, which ``trust`` allows.
    """
    if not (folder / FILE).is_file():
        raise EdgeclipError(f"{folder} is not a project ({FILE} is missing): create one with edgeclip init {folder}")
    project = read_document(folder / FILE, Project)
    if not (trust or is_ours(project.signature, FILE, str(folder.resolve()))):
        refuse_code([project.teacher, *project.more_teachers], folder / FILE)
    return project


def check_inputs(folder: Path, project: Project) -> None:
    """Look at what can be wrong before a minute is spent.

    Raises:
        EdgeclipError: an input is missing or unfit.
    """
    from ..data.sentences import refuse_unfit
    from ..images.datasets import open_dataset
    from ..images.sources import refuse_missing
    from ..profiling.store import load_profile

    if project.profile != HERE:
        load_profile(profile_name(folder, project))
    refuse_missing(place(folder, project.images))
    refuse_unfit(Path(place(folder, str(project.texts or project.classes))), classes=project.texts is None)
    if project.dataset:
        open_dataset(place(folder, project.dataset))


def place(folder: Path, name: str) -> str:
    """A path of the project's file, which is below its folder, unless it is absolute, or no path at all."""
    return name if name.startswith(("hf:", "http://", "https://", "hub:", "torchvision:")) else str(folder / name)


def profile_name(folder: Path, project: Project) -> str:
    """What the project's profile is opened by, where it is not measured here."""
    return str(folder / project.profile) if project.profile.endswith(".toml") else project.profile
