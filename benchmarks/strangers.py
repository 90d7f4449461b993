"""A stranger's first runs: own pictures, `edgeclip init`, one file edited, `edgeclip run`: how long, and how good?

    python benchmarks/strangers.py --photos FOLDER --stamps FOLDER --out runs/strangers [--only NAME]

``--photos``: small photographs and a teacher for them (``unlabelled.tar``, ``cifar10/`` in CLIP_benchmark's layout,
``photo_teacher.py`` with the packages that its docstring names). ``--stamps``: ``/usr/share/tuxpaint/stamps`` of
Debian's package ``tuxpaint-stamps-default``, 785 captioned cut-outs in folders by kind. Neither is in this repository.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import results
from PIL import Image

from edgeclip.base.documents import read_document
from edgeclip.chain.project import FILE
from edgeclip.evaluation.chance import kept_above_chance
from edgeclip.reporting.schema import Report

KINDS = ("birds", "mammals", "insects", "plants", "fruit", "vehicles", "town", "clothes")
HELD_OUT = 4  # every so many stamps of these kinds is one to test on
TEACHER = "photo_teacher:photos"


def edited(folder: Path, **changes: str) -> None:
    """What a stranger changes in the file that `edgeclip init` wrote."""
    text = (folder / FILE).read_text()
    for old, new in changes.values():
        assert old in text, old
        text = text.replace(old, new)
    (folder / FILE).write_text(text)


def stamps(folder: Path, asked: argparse.Namespace) -> None:
    """785 cut-outs with captions; some of eight kinds to test on. The teacher is one for photographs."""
    draw, captions = random.Random(0), []
    for picture in sorted(asked.stamps.rglob("*.png")):
        kind = next((one for one in KINDS if one in picture.parts), None)
        tested = kind and draw.randrange(HELD_OUT) == 0
        place = folder / ("testset" if tested else "images") / (kind or "others")
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, place)
        caption = picture.with_suffix(".txt")
        if caption.is_file() and not tested and (lines := caption.read_text(errors="replace").splitlines()):
            captions.append(lines[0])
    (folder / "sentences.txt").write_text("\n".join(captions))
    edited(
        folder,
        teacher=('"ViT-B-16:openai"', f'"{TEACHER}"'),
        latency=("latency_ms = 20", "latency_ms = 3"),
        distill=("epochs = 100", 'epochs = 25\ntext_tower = "student"'),  # what it says would take minutes
    )


def photos(folder: Path, asked: argparse.Namespace) -> None:
    """30,000 photographs; one task, whose ten classes are named. The labelled ones are of another source."""
    (folder / "classes.txt").write_text((asked.photos / "cifar10/classnames.txt").read_text())
    settings = f'epochs = {asked.epochs}\ntext_tower = "student"'  # the teacher lends none
    settings += "\ntext_shape = { width = 256, layers = 4, heads = 4 }"  # what it says would take too long otherwise
    edited(
        folder,
        teacher=('"ViT-B-16:openai"', f'"{TEACHER}"'),
        images=('"images"', f'"{asked.photos / "unlabelled.tar"}"'),
        texts=('texts = "sentences.txt"', 'classes = "classes.txt"'),
        dataset=('"testset"', f'"{asked.photos / "cifar10"}"'),
        latency=("latency_ms = 20", "latency_ms = 2"),
        distill=("epochs = 100", settings),
    )


PROJECTS = {"stamps": stamps, "photos": photos}


def run(words: list[str], environment: dict[str, str], log: Path) -> tuple[int, float]:
    """A command as in a shell; its status, and the seconds that it took."""
    start = time.monotonic()
    with log.open("a") as said:
        said.write(f"$ edgeclip {' '.join(words)}\n")
        said.flush()
        command = [sys.executable, "-m", "edgeclip", *words]
        done = subprocess.run(command, env=environment, stdout=said, stderr=subprocess.STDOUT, check=False)
    return done.returncode, round(time.monotonic() - start, 1)


def one(name: str, asked: argparse.Namespace) -> dict[str, Any]:
    """Begin, fill in, run, and ask for the first own answer."""
    folder, log = asked.out / name, asked.out / f"{name}.log"
    paths = [str(asked.photos), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    assert run(["init", str(folder)], environment, log)[0] == 0
    PROJECTS[name](folder, asked)
    status, seconds = run(["run", str(folder)], environment, log)
    facts: dict[str, Any] = {"seconds": seconds, "status": status, "said": log.read_text().splitlines()[-40:]}
    if not (folder / "report/report.json").is_file():
        return facts
    report = read_document(folder / "report/report.json", Report)
    chosen = next(row for row in report.rows if row.recommended)
    chance = report.dataset.chance if report.dataset else None
    teacher = next((row.top1 for row in report.rows if row.stage == "teacher"), None)
    kept = None if None in (chance, teacher, chosen.top1) else kept_above_chance(chosen.top1, teacher, chance)
    picture = folder / "own.png"
    Image.effect_noise((64, 64), 50).convert("RGB").save(picture)
    answered = run(["classify", str(folder / "bundle"), str(picture), "--labels", "a bird,a car"], environment, log)
    return facts | {
        "verdict": report.verdict,
        "teacher": teacher,
        "chance": chance,
        "student": {row.stage: row.top1 for row in report.rows},
        "kept": kept,
        "open": [line.name for line in report.criteria if not line.met],
        "first_answer_seconds": answered[1],
    }


def main() -> None:
    """Run them, one after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--stamps", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=8, help="of the photographs: what half an hour allows")
    parser.add_argument("--only", choices=list(PROJECTS))
    asked = parser.parse_args()
    asked.photos, asked.stamps = asked.photos.absolute(), asked.stamps.absolute()
    asked.out.mkdir(parents=True, exist_ok=True)
    found = {}
    for name in PROJECTS if asked.only is None else (asked.only,):
        found[name] = one(name, asked)
        print(name, {key: value for key, value in found[name].items() if key != "said"}, flush=True)
    results.save("strangers", found)


if __name__ == "__main__":
    main()
