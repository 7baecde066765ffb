"""What temperature does to the intensity of spin waves: S. W. Lovesey, Theory of Neutron Scattering (1984), 8.2."""

import math

import torch

from ..errors import StudyError
from ..units import BOLTZMANN


def check_temperature(temperature: float) -> float:
    """A temperature (K) that there can be.

    Raises
    ------
    StudyError
        If it is negative or not finite.
    """
    if not (math.isfinite(temperature) and temperature >= 0):
        raise StudyError(f"the temperature is {temperature:g} K; it must be a finite number of at least 0 K")
    return float(temperature)


def occupation(energies: torch.Tensor, temperature: float) -> torch.Tensor:
    """Bose occupation 1 / (exp(w / kT) - 1) of modes; zero at 0 K.

    Parameters
    ----------
    energies : (...) meV, positive
    temperature : float
        K.

    Raises
    ------
    StudyError
        If the temperature is negative or not finite.
    """
    if check_temperature(temperature) == 0:
        return torch.zeros_like(energies)
    return 1 / torch.expm1(energies / (BOLTZMANN * temperature))


def detailed_balance(transfer: torch.Tensor, temperature: float) -> torch.Tensor:
    """Factor 1 / (1 - exp(-w / kT)) between the imaginary susceptibility and S, at energy transfers of both signs.

    Parameters
    ----------
    transfer : (...) meV
        Positive: the neutron loses energy. At zero the factor is infinite, as the susceptibility vanishes there.
    temperature : float
        K; at 0 K the factor is 1 at positive and 0 at negative transfers.
    """
    if check_temperature(temperature) == 0:
        return (transfer > 0).to(transfer.dtype)
    return -1 / torch.expm1(-transfer / (BOLTZMANN * temperature))
