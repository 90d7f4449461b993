"""What each stage of a project was made by, so that a changed setting makes again what depends on it, and no more."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from ..base.documents import Document, NonNegative, Part, read_document
from ..base.errors import EdgeclipError
from ..base.files import sha256, write_text
from .project import HERE, Project, place

Stage = Literal["profile", "select", "distill", "export", "report"]
STAGES: tuple[Stage, ...] = get_args(Stage)
FILE = "made.json"
AFTER, GONE = "after ", "its output is gone"
# The settings that a stage depends on, besides the stages before it; a table stands for all that is in it.
DEPENDS: dict[Stage, tuple[str, ...]] = {
    "profile": ("profile", "engine", "provider", "device"),
    "select": ("teacher", "more_teachers", "budget.latency_ms", "budget.memory_mb", "budget.size_mb"),
    "distill": ("teacher", "more_teachers", "images", "texts", "classes", "distill"),
    "export": (),
    "report": ("dataset", "budget.accuracy_drop", "few_images"),
}


class StageMade(Part):
    """One stage: the settings that it was begun with, and whether it came to its end."""

    by: dict[str, Any]  # by dotted names
    whole: bool = False
    seconds: NonNegative = 0.0
    after: Stage | None = None  # a stage before it that was begun anew since


class Made(Document):
    """``made.json``, beside ``project.toml``."""

    FORMAT: ClassVar[str] = "edgeclip-made"
    SEALED: ClassVar[int | None] = 1

    stages: dict[Stage, StageMade] = {}
    files: dict[str, list[str]] = {}  # that people may look at, below the project -> SHA-256 of what was written there

    @classmethod
    def of(cls, folder: Path) -> Made:
        """What was made in a project's folder so far."""
        return read_document(folder / FILE, cls) if (folder / FILE).is_file() else cls()

    def write(self, folder: Path, name: str, document: Document) -> None:
        """Write a file that the user may look at, so that it is known again; what was there is known meanwhile."""
        text = document.as_text(Path(name).suffix)
        self.files[name] = [*self.files.get(name, ())[-1:], hashlib.sha256(text.encode()).hexdigest()]
        self.save(folder / FILE)
        write_text(folder / name, text)

    @contextmanager
    def making(self, folder: Path, stage: Stage, settings: Mapping[str, Any]) -> Iterator[StageMade]:
        """Record that a stage is begun by these settings, and, where the block ends well, that it is whole."""
        entry = self.stages[stage] = StageMade(by=own_settings(stage, settings))
        for later in STAGES[STAGES.index(stage) + 1 :]:
            if later in self.stages:  # else a call that is cut now would leave it as good as new
                self.stages[later].after = stage
        self.save(folder / FILE)
        start = time.monotonic()
        yield entry
        entry.whole, entry.seconds = True, round(time.monotonic() - start, 1)
        self.save(folder / FILE)


@dataclass(frozen=True)
class Planned:
    """What a call of ``edgeclip run`` would do about a stage."""

    stage: Stage
    does: Literal["there", "make", "go on", "make again"]
    why: str = ""
    seconds: float | None = None  # that it took the last time


def plan(
    made: Made, settings: Mapping[str, Any], again: Stage | None = None, *, gone: Collection[Stage] = ()
) -> list[Planned]:
    """Which stages are there, and which are made, and why.

    Args:
        made: so far.
        settings: of the project, by dotted names.
        again: a stage to make again whatever is there, with those after it.
        gone: stages whose result is not there any more.
    """
    planned: list[Planned] = []
    for stage in STAGES:
        entry = made.stages.get(stage)
        why = changes(entry.by, own_settings(stage, settings)) if entry else ""
        if entry and entry.whole and stage in gone:
            why = why or GONE
        before = next(
            (earlier.stage for earlier in planned if earlier.does == "make again"), entry.after if entry else None
        )
        seconds = entry.seconds if entry and entry.whole else None
        if entry is None:
            planned.append(Planned(stage, "make"))
        elif stage == again or why or before:
            planned.append(
                Planned(stage, "make again", "--again" if stage == again else why or f"{AFTER}{before}", seconds)
            )
        elif not entry.whole:
            planned.append(Planned(stage, "go on", "it was interrupted"))
        else:
            planned.append(Planned(stage, "there", seconds=seconds))
    return planned


def settings_of(folder: Path, project: Project) -> dict[str, Any]:
    """The project's settings by dotted names, with what local inputs hold, and this device where it is the target."""
    from ..device.facts import describe_device

    settings: dict[str, Any] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                walk(f"{prefix}.{key}" if prefix else key, item)
        elif value not in (None, []):
            settings[prefix] = value

    walk(
        "", {**project.model_dump(mode="json"), "distill": project.settings.model_dump(mode="json"), "signature": None}
    )
    if project.profile == HERE:
        device = describe_device()
        settings["device"] = f"{device.cpu}, {device.cores} cores"
    for name in ("images", "texts", "classes", "dataset"):
        if name in settings and (held := content(Path(place(folder, settings[name])))):
            settings[f"{name}.content"] = held
    return settings


def content(path: Path) -> str:
    """What a file or folder holds, in a few words that change with it; empty for what lies elsewhere."""
    if path.is_file():
        return f"{path.stat().st_size:,} bytes ({sha256(path)[:8]})"
    if not path.is_dir():
        return ""
    files = sorted((str(file.relative_to(path)), file.stat().st_size) for file in path.rglob("*") if file.is_file())
    whole = hashlib.sha256(repr(files).encode("utf-8", "backslashreplace")).hexdigest()
    return f"{len(files):,} files ({whole[:8]})"


def own_settings(stage: Stage, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Of the project's settings those that a stage depends on; what is not set is left out."""
    names = DEPENDS[stage]
    return {key: settings[key] for key in sorted(settings) if any(key == n or key.startswith(f"{n}.") for n in names)}


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What differs, in words: ``budget.latency_ms 20 -> 3``; empty where nothing does."""
    differs = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
    return ", ".join(f"{key} {_value(before.get(key))} -> {_value(now.get(key))}" for key in differs)


def _value(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def refuse_others(folder: Path, made: Made) -> None:
    """Refuse to write where the user has files of his own, or has changed one of ours, before any work.

    Raises:
        EdgeclipError: there is such a file.
    """
    for name in ("student.json", "distill.toml"):
        file = folder / name
        if file.exists() and (not file.is_file() or sha256(file) not in made.files.get(name, ())):
            raise EdgeclipError(
                f"{file} is not as edgeclip wrote it, and edgeclip run writes its own there: move yours to another "
                "place; settings of training belong under [distill] in project.toml"
            )


def set_aside(path: Path) -> Path | None:
    """Rename what is there to the first free ``NAME-1``, ``NAME-2`` ...; None where nothing is there."""
    if not path.exists():
        return None
    number = next(n for n in range(1, 10_000) if not path.with_name(f"{path.name}-{n}").exists())
    return path.rename(path.with_name(f"{path.name}-{number}"))
