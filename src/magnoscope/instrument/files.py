"""What an instrument file may say: the border at which its text is checked. Unknown keys are refused."""

from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import InstrumentError
from .moderator import MeasuredModerator, Moderator, Pulse

Metres = Annotated[float, Field(gt=0, le=1000)]
Seconds = Annotated[float, Field(gt=0, le=1)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class ModeratorTable(_Table):
    """An Ikeda-Carpenter pulse, or a table of measured widths."""

    tilt: Annotated[float, Field(ge=-80, le=80)] = 0.0
    tau_fast: Seconds | None = None
    tau_slow: Annotated[float, Field(ge=0, le=1)] = 0.0
    mixing: Annotated[float, Field(ge=0, le=1)] = 0.0
    wavelengths: list[Annotated[float, Field(gt=0, le=100)]] = []
    widths: list[Seconds] = []

    @model_validator(mode="after")
    def _one_form(self) -> "ModeratorTable":
        if (self.tau_fast is None) == (not self.wavelengths and not self.widths):
            raise ValueError("give either `tau_fast` or `wavelengths` with `widths`")
        return self

    def pulse(self) -> Pulse:
        """The moderator."""
        if self.tau_fast is not None:
            return Moderator(self.tau_fast, self.tau_slow, self.mixing, self.tilt)
        order = np.argsort(self.wavelengths)
        if len(self.wavelengths) == len(self.widths):
            return MeasuredModerator(
                tuple(self.wavelengths[i] for i in order), tuple(self.widths[i] for i in order), self.tilt
            )
        return MeasuredModerator(tuple(self.wavelengths), tuple(self.widths), self.tilt)


class ChopperTable(_Table):
    """A slit package, m; straight slits have no curvature."""

    slit: Metres
    radius: Metres
    curvature: Metres = float("inf")


class DetectorsTable(_Table):
    """Distance from the sample and size of one detector element, m."""

    distance: Metres
    depth: Metres
    width: Metres
    height: Metres


class InstrumentFile(_Table):
    """The whole file."""

    name: Annotated[str, Field(min_length=1)]
    citation: str = ""
    moderator_chopper: Metres
    chopper_sample: Metres
    aperture_chopper: Metres
    aperture: Annotated[list[Metres], Field(min_length=2, max_length=2)]
    moderator: ModeratorTable
    chopper: Annotated[dict[str, ChopperTable], Field(min_length=1)]
    detectors: DetectorsTable


def read_instrument(tables: dict[str, Any], where: str) -> InstrumentFile:
    """Check the tables of an instrument file; ``where`` names it in messages.

    Raises
    ------
    InstrumentError
        Naming the first key that is wrong.
    """
    try:
        return InstrumentFile.model_validate(tables)
    except ValidationError as error:
        mistakes = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
        first = mistakes[0]
        key = ".".join(str(part) for part in first["loc"])
        said = {"extra_forbidden": "unknown key", "missing": "this key is missing"}
        message = said.get(first["type"], first["msg"].removeprefix("Value error, ").replace("Input should", "must"))
        more = f" (and {len(mistakes) - 1} more)" if len(mistakes) > 1 else ""
        raise InstrumentError(f"{where}: {key + ': ' if key else ''}{message}{more}") from None
