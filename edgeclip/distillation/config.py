"""The training settings: one file, TOML or JSON, every fault named at once."""

from __future__ import annotations

import textwrap
from typing import Annotated, Any, ClassVar, Literal

import tomli_w
from pydantic import Field, model_validator

from ..base.documents import Document, Part
from ..data.augment import Augment
from ..runtime.manifest import Colour
from .presets import PRESETS

Weight = Annotated[float, Field(ge=0, le=1e6)]
Decay = Annotated[float, Field(ge=0, lt=1)]
MOST_EPOCHS = 1_000_000
EXAMPLES = {  # of what has no default
    "micro_batch": "64",
    "ground": '"ffffff"',
    "text_shape": "{ width = 256, layers = 6, heads = 4 }",
}


class Weights(Part):
    """Weights of the objective's terms (``objectives.py``); 0 leaves a term out. A preset's name will do instead."""

    vl: Weight = 0.0
    pvl: Weight = 0.0
    udist: Weight = 0.0
    embed: Weight = 0.0
    soft: Weight = 0.0

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, given: Any) -> Any:
        if isinstance(given, str):
            if given not in PRESETS:
                raise ValueError(f"no preset {given!r}: there are {', '.join(PRESETS)}, or give a table of weights")
            return PRESETS[given]
        return given

    @model_validator(mode="after")
    def _something(self) -> Weights:
        if not any(self.model_dump().values()):
            raise ValueError("every weight is 0: there is nothing to learn from")
        return self


class TextShape(Part):
    """A text tower of the student's own; vocabulary, context and the rest are the teacher's."""

    width: Annotated[int, Field(ge=8, le=1 << 14)]
    layers: Annotated[int, Field(ge=1, le=1000)]
    heads: Annotated[int, Field(ge=1, le=1 << 10)]

    @model_validator(mode="after")
    def _whole_heads(self) -> TextShape:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")
        return self


class DistillConfig(Document):
    """``--config``. The defaults follow the authors' recipe, with views in place of one cached embedding an image.

    What a setting means stands with it: ``--write-config`` and the documentation show it.
    """

    FORMAT: ClassVar[str] = "edgeclip-distill"
    VERSION: ClassVar[int] = 2
    BY_HAND: ClassVar[bool] = True

    epochs: Annotated[int, Field(ge=1, le=MOST_EPOCHS, description="passes over the images")] = 100
    batch_size: Annotated[
        int, Field(ge=2, le=1 << 20, description="images a step, and as many sentences, of all processes together")
    ] = 256
    micro_batch: Annotated[
        int | None,
        Field(
            ge=1,
            le=1 << 20,
            description="images, and sentences, that a process takes through the towers at a time, where its share of "
            "the batch does not fit its memory; the loss stays the whole batch's, for one more forward pass",
        ),
    ] = None
    exif: Annotated[
        Literal["apply", "ignore"],
        Field(description='"apply" sets pictures upright by what the camera wrote; "ignore" is what open_clip does'),
    ] = "ignore"
    ground: Annotated[
        Colour | None,
        Field(
            description='what transparent pixels lie on, rrggbb: "ffffff" is white; without it they show the colours '
            "that they hide, often black, as open_clip does"
        ),
    ] = None
    views: Annotated[
        int, Field(ge=1, le=10_000, description="augmented views of each image; epoch e uses view e mod views")
    ] = 4
    lr: Annotated[float, Field(gt=0, le=10, description="learning rate after warm-up")] = 8e-4
    min_lr: Annotated[float, Field(ge=0, le=10, description="learning rate at the end")] = 4e-5
    warmup_epochs: Annotated[
        float, Field(ge=0, le=MOST_EPOCHS, description="epochs in which the learning rate rises")
    ] = 4
    warmup_lr: Annotated[float, Field(ge=0, le=10, description="learning rate of the first step")] = 4e-6
    weight_decay: Annotated[float, Field(ge=0, le=100, description="weight decay of matrices and kernels")] = 0.05
    betas: Annotated[tuple[Decay, Decay], Field(description="beta1 and beta2 of AdamW")] = (0.9, 0.999)
    grad_clip: Annotated[float, Field(gt=0, le=1e6, description="the gradient's norm is clipped at this")] = 1.0
    ema: Annotated[
        float,
        Field(ge=0, lt=1, description="decay of the weights' moving average, which becomes the student; 0: no average"),
    ] = 0.0
    weights: Annotated[
        Weights,
        Field(
            description="weights of the objective's terms, 0 leaves one out; or the name of a preset: "
            f"{', '.join(PRESETS)}"
        ),
    ] = Weights.model_validate("dime-fm")
    augment: Annotated[
        Augment,
        Field(
            description="how a view differs from its image: area and aspect ratio of the crop, degrees, mirror image"
        ),
    ] = Augment()
    init: Annotated[
        str,
        Field(
            pattern=r"^(random|teacher|timm|.+\.safetensors)$",
            description='first weights: "random"; "teacher": every k-th block of its, leading channels; "timm": '
            "from its hub; or a file of a timm model's weights, .safetensors",
        ),
    ] = "random"
    text_tower: Annotated[
        Literal["teacher", "student"],
        Field(description='"teacher" keeps the teacher\'s; "student" trains a smaller one, too'),
    ] = "teacher"
    text_shape: Annotated[
        TextShape | None,
        Field(description="shape of the student's own text tower; default: half of the teacher's blocks"),
    ] = None
    mixed_precision: Annotated[
        Literal["no", "bf16", "fp16"],
        Field(description='number format in which the student learns; "no" is float32'),
    ] = "no"
    compile: Annotated[
        bool,
        Field(
            description="speed the student up by torch.compile: a minute at the start for faster steps; on a CPU it "
            "needs g++"
        ),
    ] = False
    store_dtype: Annotated[
        Literal["float32", "float16"], Field(description="number format of the teachers' embeddings on disk")
    ] = "float32"
    judge_epochs: Annotated[
        float,
        Field(
            gt=0,
            le=MOST_EPOCHS,
            description="epochs between two measurements of the student's accuracy, where there is a dataset",
        ),
    ] = 5
    tracker: Annotated[Literal["tensorboard", "wandb", "none"], Field(description="where the training curves go")] = (
        "tensorboard"
    )
    seed: Annotated[int, Field(ge=0, lt=1 << 32, description="seed of weights, views and batches")] = 0
    checkpoint_seconds: Annotated[float, Field(ge=0, le=1_000_000, description="seconds between two checkpoints")] = 60

    @model_validator(mode="after")
    def _text_of_its_own(self) -> DistillConfig:
        if self.text_shape and self.text_tower == "teacher":
            raise ValueError('text_shape is for a text tower of the student\'s own: set text_tower = "student"')
        return self


def example() -> str:
    """All settings as TOML, each with what it means and its default; those without one stand in a comment."""
    lines = ["# Settings of edgeclip distill. A setting that is missing keeps its default.", ""]
    tables = []
    for name, field in DistillConfig.model_fields.items():
        words = "\n".join(textwrap.wrap(field.description or "", 118, initial_indent="# ", subsequent_indent="# "))
        if isinstance(field.default, Part):
            table = tomli_w.dumps({name: field.default.model_dump(mode="json")})
            tables.append(f"{words}\n{table}")
        elif field.default is None:
            lines.append(f"{words}\n# {name} = {EXAMPLES[name]}\n")
        else:
            lines.append(f"{words}\n{tomli_w.dumps({name: field.default}).rstrip()}\n".lstrip())
    return "\n".join([*lines, *tables])
