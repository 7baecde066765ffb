"""A study: one investigation, as it stands in one file."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .crystal import Lattice, Orientation
from .downloads import Downloads
from .errors import StudyError
from .hamiltonian import SpinModel
from .instrument import Sample, Spectrometer
from .intensity import Intensity
from .symmetry import Crystal
from .views import MapView, PathView, View


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
class Overlap:
    """Parameters at which several candidate models are the same Hamiltonian.

    Attributes
    ----------
    shared : tuple of str
        Names of the numbers that the models share there.
    ranges : (n_shared, 2) meV
        What the priors of all these models allow each of them.
    rows : dict of str to (n_parameters, n_shared + 1)
        For each model its parameters as linear expressions of the shared numbers, the constant last.
    priors : dict of str to (n_parameters, 2) meV
        The priors of these models.
    """

    shared: tuple[str, ...]
    ranges: NDArray[np.float64]
    rows: dict[str, NDArray[np.float64]]
    priors: dict[str, NDArray[np.float64]]

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models that coincide."""
        return tuple(self.rows)

    def values(self, model: str, shared: NDArray[np.float64]) -> NDArray[np.float64]:
        """A model's parameters (n_parameters,) at the shared numbers (n_shared,), meV."""
        return self.rows[model] @ np.append(shared, 1.0)

    def allows(self, shared: NDArray[np.float64]) -> bool:
        """Whether the priors of all models hold the parameters there, as those of a sum need not."""
        found = [(self.values(name, shared), *self.priors[name].T) for name in self.rows]
        return all(bool(np.all((values >= low) & (values <= high))) for values, low, high in found)


@dataclass(frozen=True)
class Magnet:
    """A crystal and candidate models of it: what spin waves need of a study.

    Attributes
    ----------
    crystal : Crystal
        Magnetic sites with the symmetry that the file states; without a space group those of the magnetic cell.
    """

    name: str
    title: str
    citation: str
    lattice: Lattice
    models: dict[str, SpinModel]
    twins: tuple[Twin, ...]
    crystal: Crystal

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the candidate models, in the file's order."""
        return tuple(self.models)

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


@dataclass(frozen=True)
class Study(Magnet):
    """Everything that is known before the measurement is looked at.

    Attributes
    ----------
    intrinsic_width : float
        Full width at half maximum of a mode in energy, meV.
    line : str
        The shape of a mode in energy, as in :class:`magnoscope.spinwave.Line`.
    layout_hash, physics_hash : str
        Of what fixes the layout (tiles, axes, classes) and of all that a simulation depends on.
    overlaps : tuple of Overlap
        Where candidate models are the same Hamiltonian, so that an honest label names them all.
    intensity : Intensity
        What the numbers of a simulated spectrum mean.
    coverage : bool
        Whether only those pixels are valid that the spectrometer's banks of detectors see.
    """

    orientation: Orientation
    spectrometer: Spectrometer
    sample: Sample
    package: str
    intrinsic_width: float
    runs: tuple[Run, ...]
    view: View
    downloads: Downloads | None
    layout_hash: str
    physics_hash: str
    overlaps: tuple[Overlap, ...] = ()
    intensity: Intensity = Intensity()
    coverage: bool = False
    line: Literal["gaussian", "lorentzian", "oscillator"] = "gaussian"

    @property
    def gaussian_width(self) -> float:
        """Width of a mode that is Gaussian, as the resolution is taken to be: all of it or nothing, FWHM, meV."""
        return self.intrinsic_width if self.line == "gaussian" else 0.0

    @property
    def maps(self) -> MapView:
        """The view, where it is one of maps.

        Raises
        ------
        StudyError
            If it is a path.
        """
        if not isinstance(self.view, MapView):
            raise StudyError(f"the view of study {self.name} is a path in Q; this needs maps")
        return self.view

    @property
    def path(self) -> PathView:
        """The view, where it is a path.

        Raises
        ------
        StudyError
            If it is one of maps.
        """
        if not isinstance(self.view, PathView):
            raise StudyError(f"the view of study {self.name} are maps; this needs a path in Q")
        return self.view

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of a spectrum: (runs, slices, axis 0, axis 1); a path has energy bins, points and 1."""
        return len(self.runs), *self.view.shape

    @property
    def image_shape(self) -> tuple[int, int]:
        """Shape of the flat image: tiles of each run in a row, slices rising to the right."""
        runs, slices, x, y = self.shape
        return runs * x, slices * y

    @cached_property
    def energy_edges(self) -> NDArray[np.float64]:
        """Slice edges, (runs, slices + 1) meV."""
        return np.stack([self.view.energy_edges(run.ei) for run in self.runs])
