"""Direct-geometry Fermi chopper spectrometers, read from data files with a citation."""

import tomllib
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from ..errors import InstrumentError
from .chopper import FermiChopper
from .content import LATER, NO_PHYSICS
from .coverage import Coverage
from .files import read_instrument
from .guide import GuideGain
from .moderator import Pulse


@dataclass(frozen=True)
class Detectors:
    """The secondary spectrometer: distance from the sample and size of one detector element, m."""

    distance: float
    depth: float
    width: float
    height: float


@dataclass(frozen=True)
class Spectrometer:
    """The primary and secondary spectrometer; all lengths in m, aperture as full (width, height)."""

    name: str
    citation: str
    moderator_chopper: float
    chopper_sample: float
    aperture_chopper: float
    aperture: tuple[float, float]
    moderator: Pulse
    choppers: dict[str, FermiChopper]
    detectors: Detectors
    guide: GuideGain | None = field(default=None, metadata=LATER)
    coverage: Coverage | None = field(default=None, metadata=NO_PHYSICS)

    def aperture_at(self, ei: float) -> tuple[float, float]:
        """Full (width, height) of the aperture (m) at an incident energy (meV): widened by what a guide adds."""
        factor = self.guide.gain(ei) ** 0.5 if self.guide else 1.0
        return factor * self.aperture[0], factor * self.aperture[1]

    def chopper(self, package: str) -> FermiChopper:
        """A slit package by name.

        Raises
        ------
        InstrumentError
            If this instrument has no such package.
        """
        if package not in self.choppers:
            raise InstrumentError(
                f"instrument {self.name} has no chopper package {package}; it has {', '.join(self.choppers)}"
            )
        return self.choppers[package]


def presets() -> list[str]:
    """Names of the instruments that ship."""
    folder = resources.files(__package__) / "presets"
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))


def load_spectrometer(name: str, folder: Path | None = None) -> Spectrometer:
    """An instrument that ships, by name (such as ``"maps-v1"``), or that of a TOML file, by its path.

    Parameters
    ----------
    name : str
        Ends in ``.toml`` where it is a file.
    folder : Path
        What the path of a file is relative to; the current folder unless told.

    Raises
    ------
    InstrumentError
        If there is none of that name, or the file cannot be read or holds a mistake.
    """
    if name.endswith(".toml"):
        path = (folder or Path()) / name
        try:
            text = path.read_text("utf-8")
        except FileNotFoundError:
            raise InstrumentError(f"there is no instrument file {path}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise InstrumentError(f"instrument file {path} cannot be read: {error}") from None
    elif name in presets():
        text = (resources.files(__package__) / "presets" / f"{name}.toml").read_text("utf-8")
    else:
        raise InstrumentError(
            f"there is no instrument {name}; the package has {', '.join(presets())}, a file must end in .toml"
        )
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InstrumentError(f"{name} is not a TOML file: {error}") from None
    table = read_instrument(tables, name)
    return Spectrometer(
        name=table.name,
        citation=table.citation,
        moderator_chopper=table.moderator_chopper,
        chopper_sample=table.chopper_sample,
        aperture_chopper=table.aperture_chopper,
        aperture=(table.aperture[0], table.aperture[1]),
        moderator=table.moderator.pulse(),
        choppers={
            key: FermiChopper(key, slit=c.slit, radius=c.radius, curvature=c.curvature)
            for key, c in table.chopper.items()
        },
        detectors=Detectors(**table.detectors.model_dump(exclude={"banks"})),
        guide=table.guide.gain() if table.guide else None,
        coverage=table.detectors.coverage(),
    )
