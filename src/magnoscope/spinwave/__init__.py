"""Linear spin wave theory: structures, modes, neutron correlations, form factors, stability."""

from .energy import ClassicalEnergy
from .form_factor import form_factor
from .modes import Modes, ModeSolver, amplitudes, check_stable, s_perp
from .stability import is_stable, zone_grid
from .sweep import BandIntensities, band_intensities

__all__ = [
    "BandIntensities",
    "ClassicalEnergy",
    "ModeSolver",
    "Modes",
    "amplitudes",
    "band_intensities",
    "check_stable",
    "form_factor",
    "is_stable",
    "s_perp",
    "zone_grid",
]
