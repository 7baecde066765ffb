"""Linear spin wave theory: modes, neutron correlations, form factors, stability."""

from .form_factor import form_factor
from .modes import Modes, ModeSolver, amplitudes, check_stable, s_perp
from .stability import is_stable, zone_grid

__all__ = ["ModeSolver", "Modes", "amplitudes", "check_stable", "form_factor", "is_stable", "s_perp", "zone_grid"]
