"""What an instrument file may say: the border at which its text is checked. Unknown keys are refused."""

from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import InstrumentError
from .coverage import Bank, Coverage
from .guide import GuideGain
from .moderator import MaterialModerator, MeasuredModerator, Moderator, PulseLengthModerator, SoftHat

Metres = Annotated[float, Field(gt=0, le=1000)]
Seconds = Annotated[float, Field(gt=0, le=1)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class SoftHatTable(_Table):
    """Where a pulse is longer: see :class:`SoftHat`; energies in meV."""

    height: Annotated[float, Field(gt=-1, le=100)]
    from_: Annotated[float, Field(alias="from", ge=0)]
    to: Annotated[float, Field(gt=0)]
    blurs: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=2, max_length=2)]

    @model_validator(mode="after")
    def _rising(self) -> "SoftHatTable":
        if not self.from_ < self.to:
            raise ValueError("`from` must be below `to`")
        return self

    def factor(self) -> SoftHat:
        """What the length of a pulse is multiplied by."""
        return SoftHat(self.height, self.from_, self.to, (self.blurs[0], self.blurs[1]))


Positive = Annotated[float, Field(gt=0)]
Pair = Annotated[list[Positive], Field(min_length=2, max_length=2)]


class AnalyticTable(_Table):
    """A moderator pulse by a formula, one of three: `tau_fast`, `scattering` or `pulse_length`."""

    tau_fast: Seconds | None = None
    tau_slow: Annotated[float, Field(ge=0, le=1)] = 0.0
    mixing: Annotated[float, Field(ge=0, le=1)] = 0.0
    scattering: Pair | None = None
    storage_rates: Pair | None = None
    storage_step: Positive | None = None
    mixing_energy: Positive | None = None
    pulse_length: Metres | None = None
    growth: Annotated[float, Field(ge=0, le=10)] = 0.0
    hat: SoftHatTable | None = None

    def _forms(self) -> list[str]:
        return [name for name in ("tau_fast", "scattering", "pulse_length") if getattr(self, name) is not None]

    @model_validator(mode="after")
    def _whole(self) -> "AnalyticTable":
        together = {
            "tau_fast": ("tau_slow", "mixing"),
            "scattering": ("storage_rates", "storage_step", "mixing_energy"),
            "pulse_length": ("growth", "hat"),
        }
        for form, keys in together.items():
            for key in keys:
                if key in self.model_fields_set and form not in self._forms():
                    raise ValueError(f"`{key}` goes with `{form}`, which is missing")
        if self.scattering and not (self.storage_rates and self.storage_step and self.mixing_energy):
            raise ValueError("`scattering` needs `storage_rates`, `storage_step` and `mixing_energy`")
        return self

    def analytic(self, tilt: float) -> Moderator | MaterialModerator | PulseLengthModerator:
        """The moderator."""
        if self.tau_fast is not None:
            return Moderator(self.tau_fast, self.tau_slow, self.mixing, tilt)
        if self.scattering and self.storage_rates and self.storage_step and self.mixing_energy:
            (s1, s2), (low, high) = self.scattering, self.storage_rates
            return MaterialModerator((s1, s2), (low, high), self.storage_step, self.mixing_energy, tilt)
        hat = self.hat.factor() if self.hat else None
        return PulseLengthModerator(self.pulse_length or 0.0, self.growth, hat, tilt)


class BeyondTable(AnalyticTable):
    """The pulse at wavelengths shorter than the table of measured widths."""

    @model_validator(mode="after")
    def _one_form(self) -> "BeyondTable":
        if len(self._forms()) != 1:
            raise ValueError("give one of `tau_fast`, `scattering` and `pulse_length`")
        return self


class ModeratorTable(AnalyticTable):
    """A moderator pulse by a formula, or a table of measured widths."""

    tilt: Annotated[float, Field(ge=-80, le=80)] = 0.0
    wavelengths: list[Annotated[float, Field(gt=0, le=100)]] = []
    widths: list[Seconds] = []
    beyond: BeyondTable | None = None

    @model_validator(mode="after")
    def _one_form(self) -> "ModeratorTable":
        measured = bool(self.wavelengths or self.widths)
        if len(self._forms()) + measured != 1:
            raise ValueError(
                "give either `tau_fast` or `wavelengths` with `widths`, or one of `scattering` and `pulse_length`"
            )
        if self.beyond and not measured:
            raise ValueError("`beyond` goes with `wavelengths` and `widths`, which are missing")
        return self

    def pulse(self) -> Moderator | MaterialModerator | PulseLengthModerator | MeasuredModerator:
        """The moderator."""
        if self._forms():
            return self.analytic(self.tilt)
        beyond = self.beyond.analytic(self.tilt) if self.beyond else None
        wavelengths, widths = self.wavelengths, self.widths
        if len(wavelengths) == len(widths):
            order = np.argsort(wavelengths)
            wavelengths, widths = [wavelengths[i] for i in order], [widths[i] for i in order]
        return MeasuredModerator(tuple(wavelengths), tuple(widths), self.tilt, beyond)


class ChopperTable(_Table):
    """A slit package, m; straight slits have no curvature."""

    slit: Metres
    radius: Metres
    curvature: Metres = float("inf")


def _rising(ends: list[float]) -> list[float]:
    if not ends[0] < ends[1]:
        raise ValueError("must rise from its lower to its upper end")
    return ends


Degrees = Annotated[float, Field(ge=-180, le=180)]
Range = Annotated[list[Degrees], Field(min_length=2, max_length=2), AfterValidator(_rising)]


class BankTable(_Table):
    """Ranges of the angles that detectors fill, degrees: see :class:`Bank`."""

    horizontal: Range
    vertical: Range


class DetectorsTable(_Table):
    """Distance from the sample and size of one detector element, m; where there are detectors."""

    distance: Metres
    depth: Metres
    width: Metres
    height: Metres
    banks: Annotated[list[BankTable], Field(max_length=1000)] = []

    def coverage(self) -> Coverage | None:
        """Where there are detectors; None if the file does not say."""
        banks = [Bank((b.horizontal[0], b.horizontal[1]), (b.vertical[0], b.vertical[1])) for b in self.banks]
        return Coverage(tuple(banks)) if banks else None


class GuideTable(_Table):
    """How much a guide widens the beam: see :class:`GuideGain`; wavelengths in Å."""

    onset: Positive
    coefficients: Annotated[list[float], Field(min_length=1, max_length=20)]
    longest: Positive

    def gain(self) -> GuideGain:
        """The gain."""
        return GuideGain(self.onset, tuple(self.coefficients), self.longest)


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
    guide: GuideTable | None = None


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
