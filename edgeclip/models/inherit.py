"""A student that starts from its teacher: every k-th block, leading channels and heads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from open_clip.transformer import TextTransformer, VisionTransformer
from torch import Tensor, nn

from ..base.errors import EdgeclipError

BLOCK = re.compile(r"(?<=resblocks\.)\d+")


@torch.no_grad()
def inherit(student: nn.Module, theirs: Mapping[str, Tensor]) -> None:
    """Fill one of the student's towers with what fits of its teacher's: both are open_clip's transformers.

    Blocks are taken at even distances, the first and the last among them; of each matrix the leading rows and columns,
    of each of query, key and value the leading heads. Patches and positions are interpolated to the student's grid.

    Args:
        student: an image or a text tower.
        theirs: the weights of the teacher's.

    Raises:
        EdgeclipError: one of the two is no transformer of open_clip's, or the student is larger somewhere.
    """
    if not isinstance(student, (VisionTransformer, TextTransformer)) or not any(map(BLOCK.search, theirs)):
        raise EdgeclipError("only open_clip's transformers can start from a teacher, and from one: set init to random")
    weights_here = student.state_dict()
    blocks, their_blocks = _blocks(weights_here), _blocks(theirs)
    for name, value in weights_here.items():
        source = BLOCK.sub(lambda match: str(_spread(int(match[0]), blocks, their_blocks)), name)
        if source not in theirs:
            raise EdgeclipError(f"the teacher has no {source} to start from: set init to random")
        value.copy_(_fitted(name, theirs[source].float(), value, student))


def _blocks(weights: Mapping[str, Tensor]) -> int:
    return 1 + max(int(match[0]) for name in weights if (match := BLOCK.search(name)))


def _spread(block: int, blocks: int, their_blocks: int) -> int:
    """The teacher's block for the student's, ends to ends."""
    return their_blocks - 1 if blocks == 1 else round(block * (their_blocks - 1) / (blocks - 1))


def _fitted(name: str, source: Tensor, target: Tensor, student: Any) -> Tensor:
    if name == "positional_embedding" and isinstance(student, VisionTransformer):
        source = _resized_positions(source, student.grid_size)
    elif name == "conv1.weight" and source.shape[2:] != target.shape[2:]:
        # A smaller patch of the same picture has fewer pixels: what they sum to should stay.
        area = source.shape[2] * source.shape[3] / (target.shape[2] * target.shape[3])
        source = area * F.interpolate(source, size=target.shape[2:], mode="bicubic", antialias=True)
    if "in_proj" in name:
        parts = zip(source.chunk(3), target.chunk(3), strict=True)
        return torch.cat([_leading(name, theirs, ours) for theirs, ours in parts])
    return _leading(name, source, target)


def _leading(name: str, source: Tensor, target: Tensor) -> Tensor:
    if any(theirs < ours for theirs, ours in zip(source.shape, target.shape, strict=True)):
        raise EdgeclipError(f"the student's {name} is larger than its teacher's: set init to random")
    return source[tuple(slice(size) for size in target.shape)]


def _resized_positions(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """Position embeddings [1 + h w, width] on another grid; the class token's stays."""
    first, rest = positions[:1], positions[1:]
    side = round(len(rest) ** 0.5)
    if (side, side) == tuple(grid):
        return positions
    picture = rest.view(1, side, side, -1).permute(0, 3, 1, 2)
    picture = F.interpolate(picture, size=tuple(grid), mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([first, picture.flatten(2)[0].T])
