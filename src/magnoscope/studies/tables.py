"""What the tables of a study file have in common."""

from typing import Annotated

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _direction(value: list[float]) -> list[float]:
    if not np.max(np.abs(value)) >= 1e-6:
        raise ValueError("is zero; give it a direction")
    return value


Finite = Annotated[float, Field(ge=-1e6, le=1e6)]
Vector = Annotated[list[Finite], Field(min_length=3, max_length=3)]
Direction = Annotated[Vector, AfterValidator(_direction)]


class Table(BaseModel):
    """A table of the file."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
