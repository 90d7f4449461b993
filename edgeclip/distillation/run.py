"""The run directory: what was asked, how far it went, and the student."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from ..base.documents import Count, Document, Fraction, NonNegative, Part, read_document
from ..base.errors import EdgeclipError, FormatError
from ..base.files import sha256, writable
from ..base.folders import content_of
from ..base.trust import is_ours, sign
from ..data.training import TrainingData
from ..models.openclip import OpenClipEncoder
from ..towers.spec import StudentSpec
from .config import DistillConfig

KIND = "run"


def refuse_in_the_way(out: Path, *, resume: bool = False) -> None:
    """Find out before any work whether a run may be made in ``out``, or gone on with.

    Raises:
        EdgeclipError: ``out`` cannot be written to, holds something else, or holds a run and nothing says to resume it.
    """
    writable(out)
    there = (out / "run.json").is_file()
    if not there and content_of(out):
        raise EdgeclipError(f"{out} exists and is not a run: choose another --out")
    if there and not resume:
        raise EdgeclipError(
            f"{out} contains a run: resume it with edgeclip distill --resume {out}, or choose another --out"
        )


class RunFigures(Part):
    """What a finished run counted and how long it took; None before."""

    images: Count | None = None
    skipped: list[str] = []  # images that cannot be read, at most a thousand
    sentences: Count | None = None
    steps: Count | None = None
    best_top1: Fraction | None = None  # on the data set that the student was judged on
    store_seconds: NonNegative | None = None  # for the teachers' embeddings
    train_seconds: NonNegative | None = None


class RunDocument(Document):
    """``run.json``."""

    FORMAT: ClassVar[str] = "edgeclip-run"
    VERSION: ClassVar[int] = 2
    SEALED: ClassVar[int | None] = 2

    status: Literal["running", "finished"] = "running"
    teacher: str  # in whose space the student lives
    more_teachers: list[str] = []
    teacher_fingerprint: str  # of all of them
    images: str  # a folder, shards, or a dataset: see sources.py
    texts: str
    dataset: str | None = None  # what the student is judged on while it learns
    store: str | None = None  # where the teachers' embeddings lie; in the user's cache where None
    classes: bool = False  # whether ``texts`` names classes instead of sentences
    templates: str | None = None  # that they are put into: see sentences.py
    inputs: dict[str, str] = {}  # digests of what was learnt from: images, sentences
    spec: StudentSpec
    config: DistillConfig
    student: dict[str, str] = {}  # the files of student/ -> their SHA-256
    figures: RunFigures = RunFigures()
    signature: str | None = None  # by which whoever made it, where it lies, knows it again: see trust.py

    @property
    def teachers(self) -> list[str]:
        """All of them, by the names that they were given."""
        return [self.teacher, *self.more_teachers]

    @property
    def data(self) -> TrainingData:
        """What is learnt from."""
        texts, store = Path(self.texts), Path(self.store) if self.store else None
        named = {"classes": texts, "templates": self.templates} if self.classes else {"texts": texts}
        return TrainingData(self.images, store=store, **named)  # type: ignore[arg-type]

    def signed(self, path: Path) -> RunDocument:
        """The document as this user's own, of a run at ``path``."""
        return self.model_copy(update={"signature": sign(KIND, str(path.resolve()), *self.teachers)})


@dataclass
class Run:
    """A run's folder: ``run.json``, ``metrics.jsonl``, the checkpoints, and ``student/``."""

    path: Path
    document: RunDocument

    @classmethod
    def open(cls, path: Path) -> Run:
        """Read ``run.json``.

        Raises:
            EdgeclipError: there is no run at ``path``, or its file has faults.
        """
        if not (path / "run.json").is_file():
            raise EdgeclipError(f"{path} is not a run (run.json is missing): pass the --out folder of edgeclip distill")
        return cls(path, read_document(path / "run.json", RunDocument))

    def __repr__(self) -> str:
        """The folder, the student, and whether it is finished."""
        spec = self.document.spec
        return f"Run({self.path}: {spec.name}, {spec.precision}, {self.document.status})"

    @property
    def student_dir(self) -> Path:
        """The student in open_clip's hub layout."""
        return self.path / "student"

    @property
    def checkpoint(self) -> Path:
        """Weights, optimizer and step, for a resume."""
        return self.path / "checkpoint.safetensors"

    @property
    def best(self) -> Path:
        """The weights that were judged best, where there was a dataset to judge by."""
        return self.path / "best.safetensors"

    @property
    def ours(self) -> bool:
        """Whether this user made it, here, with these teachers."""
        return is_ours(self.document.signature, KIND, str(self.path.resolve()), *self.document.teachers)

    def save(self) -> None:
        """Write ``run.json``."""
        self.document.save(self.path / "run.json")

    def encoder(self) -> OpenClipEncoder:
        """The trained student.

        Raises:
            EdgeclipError: the run was interrupted before its end.
            FormatError: a file of the student is missing, or is not what was trained.
        """
        if self.document.status != "finished":
            raise EdgeclipError(f"{self.path} is not finished: continue it with edgeclip distill --resume {self.path}")
        for name, digest in self.document.student.items():
            file = self.student_dir / name
            if not file.is_file() or sha256(file) != digest:
                raise FormatError(f"{file} is missing, or was changed after training: copy the run again")
        return OpenClipEncoder.load(f"local-dir:{self.student_dir}")
