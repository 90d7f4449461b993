"""What is exported, beside the fp32 graphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..runtime.engines.tensorrt.config import EngineConfig

OPSET = 20
HUGGINGFACE = "model in Hugging Face's layout"  # what such a folder is, to whoever would write over it


@dataclass(frozen=True)
class ExportConfig:
    """What a bundle holds, and what its precisions are judged by.

    Args:
        precisions: ``fp16``, ``int8``, or ``auto``: every one that the target supports. fp32 is always there.
        recipes: int8 for these targets too: ``x86``, ``x86-vnni``, ``arm``, ``tensorrt``.
        opset: of ONNX.
        dataset: labelled images to measure the accuracy of each precision on; None: embeddings alone are compared.
        accuracy_drop: top-1 that a precision may lose on ``dataset``, percentage points.
        labels: a file of class names, one a line: writes a classifier graph, too.
        text_tower: False: store the embeddings of ``labels`` instead of a text tower.
        bytes_input: writes a graph that takes uint8 RGB squares, NHWC, too.
        exif: apply or ignore the EXIF orientation; as the model does when None.
        ground: what transparent pixels lie on, rrggbb; as the model does when None.
        engines: builds TensorRT engines, too.
    """

    precisions: Sequence[Literal["fp32", "fp16", "int8", "auto"]] = ("auto",)
    recipes: Sequence[str] = ()
    opset: int = OPSET
    dataset: Path | None = None
    accuracy_drop: float = 1.0
    labels: Path | None = None
    text_tower: bool = True
    bytes_input: bool = False
    exif: Literal["apply", "ignore"] | None = None
    ground: str | None = None
    engines: EngineConfig | None = None
