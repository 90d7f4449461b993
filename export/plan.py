"""What an export makes, opened and ready: the choices of an ExportConfig with the model at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..models.openclip import OpenClipEncoder
from ..runtime.engines.tensorrt.config import EngineConfig
from ..runtime.target import Precision, Target
from .config import OPSET, ExportConfig
from .extras import Classes
from .inputs import classes_of, evaluation_set_of
from .tune import PRECISIONS
from .validate import EvaluationSet, Gate


@dataclass(frozen=True)
class ExportPlan:
    """What a bundle is to hold beside fp32, and what it is judged by.

    Args:
        target: what it is exported for; the spec's where None, and this machine where that names none either.
        precisions: ``fp16``, ``int8``; ``auto`` is what the target has. fp32 is always made: the others are measured
            against it.
        recipes: int8 recipes, of ``RECIPES``, to be written beside the target's own.
        opset: ONNX opset.
        gate: what a variant must keep.
        evaluation_set: a labelled dataset; with it the gate counts answers.
        classes: makes a classifier graph for these.
        text_tower: False: the bundle knows the classes alone, by their embeddings, and no other words.
        bytes_input: makes a graph fed uint8 NHWC squares.
        engines: builds TensorRT engines.
    """

    target: Target | None = None
    precisions: Sequence[str] = ("auto",)
    recipes: Sequence[str] = ()
    opset: int = OPSET
    gate: Gate = field(default_factory=Gate)
    evaluation_set: EvaluationSet | None = None
    classes: Classes | None = None
    text_tower: bool = True
    bytes_input: bool = False
    engines: EngineConfig | None = None

    def wanted(self, target: Target) -> list[Precision]:
        """The precisions to be made, fp32 first."""
        precisions = {*self.precisions, *(target.precisions if "auto" in self.precisions else ())}
        return ["fp32", *(p for p in PRECISIONS[1:] if p in precisions)]


def plan_of(model: OpenClipEncoder, config: ExportConfig, target: Target | None = None) -> ExportPlan:
    """The plan of a config, for a model: its data set and labels are read, and embedded by the model.

    Raises:
        EdgeclipError: the data set or the labels cannot be read.
    """
    return ExportPlan(
        target=target,
        precisions=config.precisions,
        recipes=config.recipes,
        opset=config.opset,
        gate=Gate(drop=config.accuracy_drop),
        evaluation_set=evaluation_set_of(model, config.dataset) if config.dataset else None,
        classes=classes_of(model, config.labels) if config.labels else None,
        text_tower=config.text_tower,
        bytes_input=config.bytes_input,
        engines=config.engines,
    )
