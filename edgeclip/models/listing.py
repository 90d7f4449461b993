"""The teachers that open_clip can fetch by name, with what decides between them, from its configs alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import open_clip
from open_clip.pretrained import get_pretrained_cfg

SIDE = 224  # px, where a config is silent


@dataclass(frozen=True)
class Listed:
    """One teacher."""

    name: str  # as --teacher takes it
    image_size: int  # side of the square input, pixels
    embed_dim: int
    hub: str  # where its weights lie


def list_teachers(word: str = "") -> list[Listed]:
    """Every ``MODEL:TAG`` whose name holds ``word``, upper or lower case alike."""
    names = sorted(f"{architecture}:{tag}" for architecture, tag in open_clip.list_pretrained())
    return [_listed(name) for name in names if word.lower() in name.lower()]


def _listed(name: str) -> Listed:
    architecture, _, tag = name.partition(":")
    config: Any = open_clip.get_model_config(architecture)
    size = config["vision_cfg"].get("image_size", SIDE)
    hub = get_pretrained_cfg(architecture, tag).get("hf_hub", "")
    return Listed(name, size[0] if isinstance(size, (list, tuple)) else size, config["embed_dim"], hub.strip("/"))
