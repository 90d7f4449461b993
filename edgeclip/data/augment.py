"""How images are augmented: the settings alone, which torch is not needed to read."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from ..base.documents import Fraction, Part


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
