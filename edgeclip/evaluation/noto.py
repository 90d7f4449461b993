"""Emoji by another hand: a tar of drawings and what they show, as a natural shift of a set that has the same emoji.

``CODEPOINTS.png`` beside ``CODEPOINTS.json`` (``{"name": ..., "category": ...}``), as made from Google's Noto Emoji and
the names of emoji-datasource. Never trained on; the file does not come with the package.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..base.errors import EdgeclipError, FormatError
from ..base.tars import read_tar
from ..images.labelled import BytesExample, Dataset, FileExample

ENVIRONMENT = "EDGECLIP_NOTO"
EMOJI_STYLE = "fe0f"  # a variation selector: the same emoji with it and without


@dataclass(frozen=True, slots=True)
class Transparent(BytesExample):
    """A drawing with transparency, decoded onto white, as the emoji that it is compared with were drawn."""

    def decode(self) -> Image.Image:
        """RGB on white."""
        drawn = BytesExample.decode(self).convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", drawn.size, "white"), drawn).convert("RGB")


def open_noto_names(file: Path, openmoji: Dataset) -> Dataset:
    """The drawings of the emoji of ``openmoji``, a folder per class named by code points, among all of its classes.

    So class names, templates and emoji are those of the other set, and only the hand differs.

    Raises:
        EdgeclipError: no drawing is of an emoji there.
        FormatError: the archive is damaged, or not as described above.
    """
    places = {_codepoints(e.path.parent.name): e.label for e in openmoji.source if isinstance(e, FileExample)}
    drawings = read_drawings(file)
    examples = [
        Transparent(key, content, places[_codepoints(key)])
        for key, (content, _) in drawings.items()
        if _codepoints(key) in places
    ]
    if not examples:
        raise EdgeclipError(f"{file}: none of its {len(drawings)} drawings is of an emoji in {openmoji.name}")
    return Dataset("noto-names", openmoji.classnames, openmoji.templates, examples)


def open_noto_categories(file: Path, templates: Sequence[str]) -> Dataset:
    """All drawings among the categories that occur; errors as above."""
    drawings = read_drawings(file)
    categories = sorted({str(facts["category"]) for _, facts in drawings.values()})
    examples = [
        Transparent(key, content, categories.index(str(facts["category"])))
        for key, (content, facts) in drawings.items()
    ]
    return Dataset("noto-categories", [name.lower() for name in categories], list(templates), examples)


def read_drawings(file: Path) -> dict[str, tuple[bytes, Mapping[str, object]]]:
    """Code points -> the PNG file and the facts.

    Raises:
        FormatError: the archive is damaged, or a drawing has no facts or no category.
    """
    parts: dict[str, dict[str, bytes]] = {}
    for name, content in read_tar(file):
        stem, _, suffix = name.rpartition("/")[2].partition(".")
        parts.setdefault(stem, {})[suffix] = content
    drawings: dict[str, tuple[bytes, Mapping[str, object]]] = {}
    for key, of_one in parts.items():
        try:
            facts = json.loads(of_one["json"])
            facts["category"], facts["name"]
            _codepoints(key)
            drawings[key] = (of_one["png"], facts)
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{file}: {key} is not a drawing with its name and category ({error!r})") from error
    return drawings


def _codepoints(key: str) -> tuple[int, ...]:
    return tuple(int(part, 16) for part in key.split("-") if part.lower() != EMOJI_STYLE)
