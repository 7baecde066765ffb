"""Which pixels of a map the detectors of a run see at all."""

import numpy as np
from numpy.typing import NDArray

from ..errors import StudyError
from ..study import Study
from ..units import wavevector
from .setting import run_setting

SUBDIVISION = 5
"""Points along each edge of a pixel and slice that are looked at, unless told otherwise."""


def coverage(study: Study, number: int, subdivision: int = SUBDIVISION) -> NDArray[np.bool_]:
    """Pixels of a run that any detector contributes to, by the geometry of the instrument's banks.

    A pixel counts as seen if any point on a fine grid in it and its slice is, as a histogram of events would have it.
    What was measured overrides this: a mask file, or a Spectrum with its valid pixels.

    Parameters
    ----------
    study : Study
    number : int
        Of the run.
    subdivision : int
        Points of the fine grid along each axis of Q and along energy.

    Returns
    -------
    (slices, axis 0, axis 1)

    Raises
    ------
    StudyError
        If the instrument's file does not say where it has detectors.
    """
    banks = study.spectrometer.coverage
    if banks is None:
        raise StudyError(
            f"instrument {study.spectrometer.name} does not say where it has detectors; give its file "
            "[[detectors.banks]] or use a mask"
        )
    _, scan = run_setting(study, number)
    ei = study.runs[number].ei
    k_i = np.array([float(wavevector(ei)), 0.0, 0.0])
    offsets = (np.arange(subdivision) + 0.5) / subdivision - 0.5
    fine = [np.add.outer(axis.centres, axis.width * offsets).ravel() for axis in study.maps.axes]
    x, y = np.meshgrid(*fine, indexing="ij")
    edges = study.energy_edges[number]
    seen = []
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        energies = (low + high) / 2 + (high - low) * offsets
        any_energy = np.zeros(x.shape, bool)
        for energy in energies:
            any_energy |= banks.sees(k_i - scan.q_spectrometer(x, y, energy))
        shape = (len(fine[0]) // subdivision, subdivision, len(fine[1]) // subdivision, subdivision)
        seen.append(any_energy.reshape(shape).any((1, 3)))
    return np.stack(seen)
