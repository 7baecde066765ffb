"""Direct-geometry Fermi chopper spectrometers, read from data files with a citation."""

import tomllib
from dataclasses import dataclass
from importlib import resources

from ..errors import InstrumentError
from .chopper import FermiChopper
from .moderator import Moderator


@dataclass(frozen=True)
class Detectors:
    """The secondary spectrometer: distance from the sample and size of one detector element, m."""

    distance: float
    depth: float
    width: float
    height: float


@dataclass(frozen=True)
class Sample:
    """A cuboid sample: edges (m) along the spectrometer's x (beam), y (horizontal) and z (up) at psi = 0."""

    size: tuple[float, float, float]


@dataclass(frozen=True)
class Spectrometer:
    """The primary and secondary spectrometer; all lengths in m, aperture as full (width, height)."""

    name: str
    citation: str
    moderator_chopper: float
    chopper_sample: float
    aperture_chopper: float
    aperture: tuple[float, float]
    moderator: Moderator
    choppers: dict[str, FermiChopper]
    detectors: Detectors

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


def load_spectrometer(name: str) -> Spectrometer:
    """An instrument that ships, by name (such as ``"maps-v1"``).

    Raises
    ------
    InstrumentError
        If there is none of that name.
    """
    if name not in presets():
        raise InstrumentError(f"there is no instrument {name}; the package has {', '.join(presets())}")
    table = tomllib.loads((resources.files(__package__) / "presets" / f"{name}.toml").read_text("utf-8"))
    chopper = {
        key: FermiChopper(key, slit=c["slit"], radius=c["radius"], curvature=c.get("curvature", float("inf")))
        for key, c in table["chopper"].items()
    }
    return Spectrometer(
        name=table["name"],
        citation=table["citation"],
        moderator_chopper=table["moderator_chopper"],
        chopper_sample=table["chopper_sample"],
        aperture_chopper=table["aperture_chopper"],
        aperture=tuple(table["aperture"]),
        moderator=Moderator(**table["moderator"]),
        choppers=chopper,
        detectors=Detectors(**table["detectors"]),
    )
