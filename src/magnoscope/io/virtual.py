"""A virtual experiment: what a detector array would have counted, written as the facilities write it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..reduce.binning import run_bins
from ..spectrum import Spectrum
from ..study import Study
from ..units import wavevector
from .nxspe import write_nxspe
from .runs import beam_directions

Intensity = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
"""Intensity (n,) at wave vectors (n, 3) in r.l.u. and energy transfers (n,) in meV; NaN where it is not known."""


def detector_array(half_angle: float = 45.0, tubes: int = 192, pixels: int = 192) -> NDArray[np.float64]:
    """Polar angle and azimuth (degrees) of vertical tubes around the beam, (2, tubes * pixels), as on MAPS.

    The tubes stand on a cylinder around the sample; the defaults have the number of detectors of MAPS before 2017
    (36,864). A hole of 2.5 degrees around the beam is left out.

    Parameters
    ----------
    half_angle : float
        How far the array reaches to either side, up and down, degrees.
    """
    horizontal = np.radians(np.linspace(-half_angle, half_angle, tubes))
    height = np.tan(np.radians(half_angle)) * np.linspace(-1, 1, pixels)
    y, z = np.meshgrid(horizontal, height, indexing="ij")
    direction = np.stack([np.cos(y), np.sin(y), z], -1).reshape(-1, 3)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    polar = np.degrees(np.arccos(direction[:, 0]))
    azimuth = np.degrees(np.arctan2(direction[:, 2], direction[:, 1]))
    return np.stack([polar, azimuth])[:, polar > 2.5]


def image_intensity(spectrum: Spectrum, number: int) -> Intensity:
    """The intensity of the pixel of a run's image that a point lies in; NaN outside."""
    bins = run_bins(spectrum.study, number)
    image = np.where(spectrum.valid[number], spectrum.signal[number], np.nan).ravel()

    def intensity(hkl: NDArray[np.float64], energy: NDArray[np.float64]) -> NDArray[np.float64]:
        out = np.full(len(energy), np.nan)
        for place in bins.places(hkl, energy):
            out = np.where(np.isnan(out) & (place >= 0), image[place], out)
        return out

    return intensity


def write_virtual_run(
    study: Study,
    number: int,
    intensity: Intensity,
    detectors: NDArray[np.float64],
    path: str | Path,
    counts: float | None = None,
    seed: int = 0,
    bins: int = 200,
    psi: float | None = None,
) -> None:
    """Write one run of a study as a detector array would have counted it, as NXSPE.

    Parameters
    ----------
    intensity : callable
        Of wave vector and energy transfer; detectors that never see a known intensity are masked (NaN).
    detectors : (2, n) degrees
        Polar angle and azimuth of each.
    counts : float, optional
        Mean counts of a detector and energy bin; without noise, with unit errors, unless given.
    bins : int
        Energy bins, from -0.1 to 0.95 Ei.
    psi : float, optional
        Crystal angle (degrees), if not the run's.

    Raises
    ------
    DataError
        If no detector sees anything.
    """
    run = study.runs[number]
    angle = run.psi if psi is None else psi
    edges = np.linspace(-0.1, 0.95, bins + 1) * run.ei
    energy = (edges[1:] + edges[:-1]) / 2
    to_hkl = np.linalg.inv(study.orientation.spectrometer_frame(study.lattice, angle))
    beam = beam_directions(*detectors) @ to_hkl
    k_i, k_f = wavevector(run.ei), wavevector(run.ei - energy)
    signal = np.empty((detectors.shape[1], bins))
    for n in range(bins):
        signal[:, n] = intensity(k_i * to_hkl[0] - k_f[n] * beam, np.full(len(beam), energy[n]))
    seen = np.isfinite(signal)
    if not seen.any():
        raise DataError(f"{path}: no detector sees the view of study {study.name}; choose other detectors or psi")
    # what lies outside the image is not looked at, yet a detector must have a value there
    signal[~seen & seen.any(1, keepdims=True)] = 0
    error = np.where(np.isnan(signal), np.nan, 1.0)
    if counts is not None:
        scale = counts / max(float(signal[seen].clip(0).mean()), 1e-30)
        drawn = np.random.default_rng([seed, number]).poisson(np.nan_to_num(signal).clip(0) * scale)
        signal = np.where(np.isnan(signal), np.nan, drawn / scale)
        error = np.where(np.isnan(signal), np.nan, np.sqrt(drawn) / scale)
    name = study.spectrometer.name.split()[0].upper()
    distance = study.spectrometer.detectors.distance
    write_nxspe(path, signal, error, edges, detectors[0], detectors[1], run.ei, angle, distance, name)
