"""Physical constants in the package's fixed units: meV, 1/Å, Å, K, m, s.

The two neutron constants are those of Horace, so that its reference covariances are met to their printed
digits; rounder ones miss them by 1.5e-5.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

ENERGY_PER_K2 = 2.072124652
"""hbar^2 / 2 m_n: neutron energy is ``ENERGY_PER_K2 * k**2`` (meV Å^2)."""

SPEED_PER_SQRT_ENERGY = 437.3934
"""Neutron speed is ``SPEED_PER_SQRT_ENERGY * sqrt(E)`` (m/s per sqrt meV)."""

FWHM_PER_SIGMA = 2.3548200450309493
"""Full width at half maximum of a Gaussian in units of its standard deviation."""

BOHR_MAGNETON = 0.05788381806
"""mu_B in meV/T (CODATA 2018)."""

BOLTZMANN = 0.08617333262
"""k_B in meV/K (CODATA 2018)."""


def wavevector(energy: ArrayLike) -> NDArray[np.float64]:
    """Neutron wave vector (1/Å) of an energy (meV)."""
    return np.sqrt(np.asarray(energy, float) / ENERGY_PER_K2)
