"""The training settings: one file, TOML or JSON, every fault named at once."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from ..data.views import Augment
from ..documents import Document, Part
from .objectives import PRESETS

Weight = Annotated[float, Field(ge=0, le=1e6)]
Rate = Annotated[float, Field(gt=0, le=10)]  # of learning
Decay = Annotated[float, Field(ge=0, lt=1)]
Batch = Annotated[int, Field(ge=2, le=1 << 20)]
MOST_EPOCHS = 1_000_000


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
    """``--config``. The defaults follow the authors' recipe, with views in place of one cached embedding an image."""

    FORMAT: ClassVar[str] = "edgeclip-distill"
    BY_HAND: ClassVar[bool] = True

    epochs: Annotated[int, Field(ge=1, le=MOST_EPOCHS)] = 100
    batch_size: Batch = 256  # images, and as many sentences, of all processes together
    # Images, and sentences, that a process takes through the towers at a time, where its share of the batch does not
    # fit its memory. The loss stays that of the whole batch; the price is one more forward pass.
    micro_batch: Annotated[int, Field(ge=1, le=1 << 20)] | None = None
    # Pictures as the camera wrote them, as open_clip sees them, or set upright by what it wrote of up and down. The
    # student's preprocessing then does the same.
    exif: Literal["apply", "ignore"] = "ignore"
    # Augmented views an image in the feature store; epoch e uses e mod views.
    views: Annotated[int, Field(ge=1, le=10_000)] = 4
    lr: Rate = 8e-4
    min_lr: Annotated[float, Field(ge=0, le=10)] = 4e-5
    warmup_epochs: Annotated[float, Field(ge=0, le=MOST_EPOCHS)] = 4
    weight_decay: Annotated[float, Field(ge=0, le=100)] = 0.05
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    grad_clip: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    ema: Decay = 0.0  # decay of the averaged weights that become the student; 0: none
    weights: Weights = Weights.model_validate("dime-fm")
    augment: Augment = Augment()
    # random; teacher: every k-th block, leading channels (inherit.py); timm: its weights from the hub; or a file of a
    # timm model's weights, .safetensors
    init: Annotated[str, Field(pattern=r"^(random|teacher|timm|.+\.safetensors)$")] = "random"
    text_tower: Literal["teacher", "student"] = "teacher"  # student: one of its own, which learns too
    text_shape: TextShape | None = None  # of the student's own; half of the teacher's blocks where there is none
    precision: Literal["no", "bf16", "fp16"] = "no"
    store_dtype: Literal["float32", "float16"] = "float32"  # of the teachers' embeddings on disk
    # How often the student is judged, where there is a dataset.
    judge_epochs: Annotated[float, Field(gt=0, le=MOST_EPOCHS)] = 5
    tracker: Literal["tensorboard", "wandb", "none"] = "tensorboard"
    seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 0
    checkpoint_seconds: Annotated[float, Field(ge=0, le=1_000_000)] = 60

    @model_validator(mode="after")
    def _text_of_its_own(self) -> DistillConfig:
        if self.text_shape and self.text_tower == "teacher":
            raise ValueError('text_shape is for a text tower of the student\'s own: set text_tower = "student"')
        return self
