"""Linear spin wave theory: structures, modes, neutron correlations, form factors, stability."""

from .broadening import Line
from .correlations import Dispersion, DynamicStructureFactor, correlation_tensor, dispersion, structure_factor
from .energy import ClassicalEnergy
from .form_factor import form_factor, orbital_share
from .gradients import mode_energies, spectral_sum
from .modes import Modes, ModeSolver, amplitudes, check_stable, s_perp
from .powder import PowderSpectrum, powder_spectrum
from .stability import is_stable, require_minimum, zone_grid
from .sweep import BandIntensities, band_intensities

__all__ = [
    "BandIntensities",
    "ClassicalEnergy",
    "Dispersion",
    "DynamicStructureFactor",
    "Line",
    "ModeSolver",
    "Modes",
    "PowderSpectrum",
    "amplitudes",
    "band_intensities",
    "check_stable",
    "correlation_tensor",
    "dispersion",
    "form_factor",
    "is_stable",
    "mode_energies",
    "orbital_share",
    "powder_spectrum",
    "require_minimum",
    "s_perp",
    "spectral_sum",
    "structure_factor",
    "zone_grid",
]
