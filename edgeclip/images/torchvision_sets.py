"""Sets that torchvision knows by name: ``torchvision:CIFAR10:FOLDER``. Nothing is downloaded behind anyone's back."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from ..base.errors import EdgeclipError, did_you_mean, require
from .class_folders import classnames_in
from .labelled import Dataset, templates_in

PREFIX = "torchvision:"


@dataclass(frozen=True, slots=True)
class NamedExample:
    """One row of a torchvision set; it is read when it is decoded."""

    data: Any
    row: int
    label: int

    @property
    def key(self) -> str:
        """The row's number."""
        return f"row {self.row}"

    def decode(self) -> Image.Image:
        """Read and decode the row."""
        image = self.data[self.row][0]
        if not isinstance(image, Image.Image):
            raise ValueError("not an image")
        return image


@dataclass
class Rows:
    """All rows of a torchvision set. The labels come from its list of targets, so no image is decoded for them."""

    data: Any

    def __post_init__(self) -> None:
        targets = next((getattr(self.data, n) for n in ("targets", "_labels", "labels") if hasattr(self.data, n)), None)
        self._labels = [int(label) for label in targets] if targets is not None else None

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[NamedExample]:
        for row in range(len(self.data)):
            label = self._labels[row] if self._labels is not None else int(self.data[row][1])
            yield NamedExample(self.data, row, label)


def open_named(where: str, split: str = "test") -> Dataset:
    """Open ``torchvision:NAME[:FOLDER]``; FOLDER is torchvision's ``root`` (else the current folder).

    ``classnames.txt`` (``class<TAB>name``) and ``templates.txt`` in FOLDER are used as in a folder per class.

    Raises:
        MissingExtra: torchvision is not installed.
        EdgeclipError: it knows no such set, the set has no such split or no class names, or it is not in FOLDER.
    """
    name, _, folder = where.removeprefix(PREFIX).partition(":")
    root = Path(folder or ".").expanduser()  # a shell leaves a ~ behind a colon as it is
    sets = require("torchvision", "distill").datasets
    kind = getattr(sets, name, None) if name in sets.__all__ else None
    if kind is None:
        raise EdgeclipError(f"torchvision has no set {name!r}; {did_you_mean(name, sets.__all__)}")
    parameters = inspect.signature(kind.__init__).parameters
    texts: dict[str, Any] = {}
    if "split" in parameters:
        texts["split"] = split
    elif "train" in parameters:
        texts["train"] = split == "train"
    try:
        data = kind(str(root), **texts)
    except (RuntimeError, OSError, ValueError, TypeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise EdgeclipError(
            f"torchvision's {name} cannot be opened in {root} ({reason}); "
            f'to fetch it: python -c "import torchvision; torchvision.datasets.{name}({str(root)!r}, download=True)"'
        ) from error
    classes = [str(c) for c in getattr(data, "classes", ())]
    if not classes:
        raise EdgeclipError(f"torchvision's {name} does not name its classes: write it out as one folder a class")
    names = classnames_in(root / "classnames.txt", classes)
    return Dataset(name, [names[c] for c in classes], templates_in(root / "templates.txt"), Rows(data))
