"""What a student learns from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..base.errors import EdgeclipError


@dataclass(frozen=True)
class TrainingData:
    """Images and sentences, which are not paired, and where the teacher's embeddings of them are kept.

    Args:
        images: a folder, shards or a dataset, as :func:`~edgeclip.images.sources.open_source` reads them.
        texts: a file of sentences; or else ``classes``.
        classes: a file of class names, of which ``templates`` make sentences.
        templates: of these sentences, as :func:`~edgeclip.data.sentences.read_templates` takes them.
        store: a folder for the embeddings; None: the user's cache, shared by every run that needs the same.

    Raises:
        EdgeclipError: neither or both of texts and classes are given, or templates without classes.
    """

    images: str | Path
    texts: str | Path | None = None
    classes: str | Path | None = None
    templates: str | None = None
    store: str | Path | None = None

    def __post_init__(self) -> None:
        """Check what is given."""
        if (self.texts is None) == (self.classes is None):
            raise EdgeclipError("give either texts or classes")
        if self.templates and not self.classes:
            raise EdgeclipError("templates are for classes")

    @property
    def sentences(self) -> Path:
        """The file of sentences, or of class names."""
        file = self.texts or self.classes
        assert file is not None  # see __post_init__
        return Path(file)
