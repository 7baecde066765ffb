"""Several parts of a study's image, such as one file for each run, as one."""

from collections.abc import Sequence

import numpy as np

from ..spectrum import Spectrum


def merge(parts: Sequence[Spectrum]) -> Spectrum:
    """The image of several images of one study; pixels in more than one are averaged by the pixels that contributed.

    Errors are known where every contribution's are. Where the number of contributing pixels is unknown, each image
    counts once.
    """
    study = parts[0].study
    signal, variance, npix, known = (np.zeros(study.shape) for _ in range(4))
    for part in parts:
        weight = np.where(part.valid, 1.0 if part.npix is None else part.npix, 0.0)
        signal += np.where(part.valid, weight * part.signal, 0)
        if part.error is None:
            known += np.where(part.valid, np.nan, 0)
        else:
            variance += np.where(part.valid, (weight * part.error) ** 2, 0)
        npix += weight
    valid = npix > 0
    number = np.where(valid, npix, 1)
    error = np.where(valid, np.sqrt(variance) / number + known, np.nan)
    counted = all(part.npix is not None for part in parts)
    return Spectrum(
        study,
        np.where(valid, signal / number, np.nan),
        valid,
        error if np.isfinite(error[valid]).all() else None,
        npix if counted else None,
    )
