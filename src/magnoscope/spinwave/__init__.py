"""Linear spin wave theory: structures, modes, neutron correlations, form factors, stability."""

from typing import TYPE_CHECKING

from ..lazy import import_when_used

if TYPE_CHECKING:
    from .broadening import Line
    from .correlations import Dispersion, DynamicStructureFactor, correlation_tensor, dispersion, structure_factor
    from .energy import ClassicalEnergy
    from .form_factor import form_factor, orbital_share
    from .gradients import mode_energies, spectral_sum
    from .modes import Modes, ModeSolver, amplitudes, check_stable, s_perp
    from .powder import PowderSpectrum, powder_spectrum
    from .stability import is_stable, require_minimum, zone_grid
    from .sweep import BandIntensities, band_intensities

# form factors say which ions there are, wherever a study is read; the rest needs PyTorch
import_when_used(
    __name__,
    {
        "BandIntensities": "sweep",
        "ClassicalEnergy": "energy",
        "Dispersion": "correlations",
        "DynamicStructureFactor": "correlations",
        "Line": "broadening",
        "ModeSolver": "modes",
        "Modes": "modes",
        "PowderSpectrum": "powder",
        "amplitudes": "modes",
        "band_intensities": "sweep",
        "check_stable": "modes",
        "correlation_tensor": "correlations",
        "dispersion": "correlations",
        "form_factor": "form_factor",
        "is_stable": "stability",
        "mode_energies": "gradients",
        "orbital_share": "form_factor",
        "powder_spectrum": "powder",
        "require_minimum": "stability",
        "s_perp": "modes",
        "spectral_sum": "gradients",
        "structure_factor": "correlations",
        "zone_grid": "stability",
    },
)

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
