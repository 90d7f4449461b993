"""The training settings: one file, TOML or JSON, every fault named at once."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from ..files import Document, Part

Fraction = Annotated[float, Field(ge=0, le=1)]


class Weights(Part):
    """Weights of the objective's terms; 0 leaves a term out. The default is that of DIME-FM's code."""

    vl: Annotated[float, Field(ge=0)] = 0.7
    pvl: Annotated[float, Field(ge=0)] = 0.3
    udist: Annotated[float, Field(ge=0)] = 0.0
    embed: Annotated[float, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _something(self) -> Weights:
        if not any(self.model_dump().values()):
            raise ValueError("every weight is 0: there is nothing to learn from")
        return self


class Augment(Part):
    """How a view differs from its image. The teacher sees the same view as the student."""

    area: tuple[Fraction, Fraction] = (0.3, 1.0)  # part of the image's area that a crop keeps
    aspect: Annotated[float, Field(ge=0, lt=1)] = 0.2  # width over height, up to this much off 1
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0  # degrees either way
    flip: bool = True  # left-right; not where left and right mean something

    @model_validator(mode="after")
    def _ordered(self) -> Augment:
        if not 0 < self.area[0] <= self.area[1]:
            raise ValueError("area must be [smallest, largest] with 0 < smallest <= largest")
        return self


class DistillConfig(Document):
    """``--config``. The defaults follow the authors' recipe, with views in place of one cached embedding an image."""

    FORMAT: ClassVar[str] = "edgeclip-distill"

    epochs: Annotated[int, Field(ge=1)] = 100
    batch_size: Annotated[int, Field(ge=2)] = 256  # images, and as many sentences
    views: Annotated[int, Field(ge=1)] = 4  # augmented views an image in the feature store; epoch e uses e mod views
    lr: Annotated[float, Field(gt=0)] = 8e-4
    min_lr: Annotated[float, Field(ge=0)] = 4e-5
    warmup_epochs: Annotated[float, Field(ge=0)] = 4
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    grad_clip: Annotated[float, Field(gt=0)] = 1.0
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0  # decay of the averaged weights that become the student; 0: none
    weights: Weights = Weights()
    augment: Augment = Augment()
    precision: Literal["no", "bf16", "fp16"] = "no"
    seed: int = 0
    checkpoint_seconds: Annotated[float, Field(ge=0)] = 60
