"""A study: one investigation, as it stands in one file."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .crystal import Lattice, Orientation
from .downloads import Downloads
from .errors import StudyError
from .hamiltonian import SpinModel
from .instrument import Sample, Spectrometer


@dataclass(frozen=True)
class Twin:
    """A domain: its modes and intensities at (h, k, l) are those of the crystal at ``matrix @ (h, k, l)``."""

    matrix: NDArray[np.float64]
    fraction: float


@dataclass(frozen=True)
class Run:
    """One measured run: incident energy (meV), chopper frequency (Hz), histogram bin (meV), psi (degrees)."""

    ei: float
    frequency: float
    energy_bin: float
    psi: float = 0.0


@dataclass(frozen=True)
class Axis:
    """One axis of Q that a map shows: direction in r.l.u. and pixel centres from ``start`` to ``stop``."""

    name: str
    direction: tuple[float, float, float]
    start: float
    stop: float
    points: int

    @property
    def centres(self) -> NDArray[np.float64]:
        """Pixel centres, (points,)."""
        return np.linspace(self.start, self.stop, self.points)

    @property
    def width(self) -> float:
        """Width of a pixel."""
        return (self.stop - self.start) / (self.points - 1)


@dataclass(frozen=True)
class MapView:
    """Constant-energy maps: one tile for each run and slice of energy transfer.

    Attributes
    ----------
    axes : (Axis, Axis)
        Shown along axis 0 and axis 1 of a tile.
    hidden_name, hidden_direction
        The direction of Q (r.l.u.) that kinematics fixes.
    energy_fractions : (n_slices + 1,)
        Edges of the slices in units of Ei.
    """

    axes: tuple[Axis, Axis]
    hidden_name: str
    hidden_direction: tuple[float, float, float]
    energy_fractions: tuple[float, ...]

    def energy_edges(self, ei: float) -> NDArray[np.float64]:
        """Edges of the slices of a run, (n_slices + 1,) meV."""
        return np.array(self.energy_fractions) * ei


@dataclass(frozen=True)
class Study:
    """Everything that is known before the measurement is looked at.

    Attributes
    ----------
    layout_hash, physics_hash : str
        Of what fixes the layout (tiles, axes, classes) and of all that a simulation depends on.
    """

    name: str
    title: str
    citation: str
    lattice: Lattice
    orientation: Orientation
    models: dict[str, SpinModel]
    twins: tuple[Twin, ...]
    spectrometer: Spectrometer
    sample: Sample
    package: str
    intrinsic_width: float
    runs: tuple[Run, ...]
    view: MapView
    downloads: Downloads | None
    layout_hash: str
    physics_hash: str

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the candidate models, in the file's order."""
        return tuple(self.models)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of a spectrum: (runs, slices, axis 0, axis 1)."""
        x, y = self.view.axes
        return len(self.runs), len(self.view.energy_fractions) - 1, x.points, y.points

    @property
    def image_shape(self) -> tuple[int, int]:
        """Shape of the flat image: tiles of each run in a row, slices rising to the right."""
        runs, slices, x, y = self.shape
        return runs * x, slices * y

    @cached_property
    def energy_edges(self) -> NDArray[np.float64]:
        """Slice edges, (runs, slices + 1) meV."""
        return np.stack([self.view.energy_edges(run.ei) for run in self.runs])

    def model(self, name: str) -> SpinModel:
        """A candidate model by name.

        Raises
        ------
        StudyError
            If the study has no such model.
        """
        if name not in self.models:
            raise StudyError(f"study {self.name} has no model {name}; it has {', '.join(self.models)}")
        return self.models[name]
