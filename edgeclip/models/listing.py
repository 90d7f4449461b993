"""The teachers that open_clip can fetch by name, with what decides between them; and edgeclip's own."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import open_clip
from open_clip.pretrained import get_pretrained_cfg

DEMO = "demo"
SIDE = 224  # px, where a config is silent
SOURCE = (
    "https://github.com/mlfoundations/open_clip/tree/main/docs"  # of teachers.csv: see benchmarks/make_teacher_table.py
)
# To begin with: plain ViTs of one family in three sizes, with CLIP's own tokenizer.
FIRST = {
    "ViT-B-32-256:datacomp_s34b_b86k": "quick to learn from",
    "ViT-B-16:datacomp_xl_s13b_b90k": "a good middle",
    "ViT-L-14:datacomp_xl_s13b_b90k": "accurate, slow to learn from",
}


@dataclass(frozen=True)
class Listed:
    """One teacher. What nobody published is None."""

    name: str  # as --teacher takes it
    image_size: int  # side of the square input, pixels
    embed_dim: int
    hub: str  # where its weights lie; empty for the one in a clone of edgeclip
    params_m: float | None = None  # millions, of both towers
    image_params_m: float | None = None  # of the image tower
    imagenet: float | None = None  # zero-shot top-1, 0..1, as published: see SOURCE
    mean_of_38: float | None = None  # of 38 data sets, likewise
    remark: str = ""


def list_teachers(word: str = "") -> list[Listed]:
    """Every teacher whose name holds ``word``, whatever its case: edgeclip's own, three to begin with, the others."""
    published = _published()
    names = sorted(f"{architecture}:{tag}" for architecture, tag in open_clip.list_pretrained())
    names = [*(name for name in FIRST if name in names), *(name for name in names if name not in FIRST)]
    teachers = [_demo(), *(_listed(name, published.get(name, {})) for name in names)]
    return [teacher for teacher in teachers if word.lower() in teacher.name.lower()]


def _demo() -> Listed:
    remark = "knows only OpenMoji's drawings; part of a clone of edgeclip, no download"
    return Listed(DEMO, image_size=64, embed_dim=256, hub="", remark=remark)


def _listed(name: str, published: dict[str, float]) -> Listed:
    architecture, _, tag = name.partition(":")
    config: Any = open_clip.get_model_config(architecture)
    size = config["vision_cfg"].get("image_size", SIDE)
    hub = get_pretrained_cfg(architecture, tag).get("hf_hub", "")
    side = size[0] if isinstance(size, (list, tuple)) else size
    return Listed(name, side, config["embed_dim"], hub.strip("/"), **published, remark=FIRST.get(name, ""))  # type: ignore[arg-type]


def _published() -> dict[str, dict[str, float]]:
    text = (files(__package__) / "teachers.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return {row.pop("teacher"): {name: float(value) for name, value in row.items() if value} for row in rows}
