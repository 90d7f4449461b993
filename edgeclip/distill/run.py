"""The run directory: what was asked, how far it went, and the student."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from ..errors import EdgeclipError
from ..files import Document, read_document
from ..student.openclip import OpenClipEncoder
from ..student.spec import StudentSpec
from .config import DistillConfig


class RunDocument(Document):
    """``run.json``."""

    FORMAT: ClassVar[str] = "edgeclip-run"

    status: Literal["running", "finished"] = "running"
    teacher: str
    teacher_fingerprint: str
    images: str
    texts: str
    spec: StudentSpec
    config: DistillConfig
    figures: dict[str, Any] = {}  # counts, seconds, the last losses


@dataclass
class Run:
    """A run's folder: ``run.json``, ``metrics.jsonl``, ``store/``, ``checkpoint.safetensors``, ``student/``."""

    path: Path
    document: RunDocument

    @classmethod
    def open(cls, path: Path) -> Run:
        """Read ``run.json``.

        Raises:
            EdgeclipError: there is no run at ``path``, or its file has faults.
        """
        if not (path / "run.json").is_file():
            raise EdgeclipError(f"{path} is no run (no run.json there)")
        return cls(path, read_document(path / "run.json", RunDocument))

    @property
    def student_dir(self) -> Path:
        """The student in open_clip's hub layout."""
        return self.path / "student"

    @property
    def checkpoint(self) -> Path:
        """Weights, optimizer and step, for a resume."""
        return self.path / "checkpoint.safetensors"

    def save(self) -> None:
        """Write ``run.json``."""
        self.document.save(self.path / "run.json")

    def encoder(self) -> OpenClipEncoder:
        """The trained student.

        Raises:
            EdgeclipError: the run was interrupted before its end.
        """
        if self.document.status != "finished":
            raise EdgeclipError(f"{self.path} is not finished: go on with edgeclip distill --resume")
        return OpenClipEncoder.load(f"local-dir:{self.student_dir}")
