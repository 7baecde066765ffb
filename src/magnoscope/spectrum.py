"""A Spectrum: signal on the tiles of a study, and which pixels were measured at all."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .errors import SpectrumError
from .study import Study


@dataclass(frozen=True)
class Spectrum:
    """Intensity on the tiles of a study's view.

    Attributes
    ----------
    study : Study
        Names the tiles and axes.
    signal : (runs, slices, axis 0, axis 1)
        NaN where ``valid`` is False.
    valid : same shape, bool
        False where there is no detector. Zero is a measurement, a missing detector is not.
    error : same shape or None
        One standard deviation, where known.
    npix : same shape or None
        Detector pixels that contributed, where known.
    """

    study: Study
    signal: NDArray[np.float64]
    valid: NDArray[np.bool_]
    error: NDArray[np.float64] | None = None
    npix: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit the study."""
        for name, array in (
            ("signal", self.signal),
            ("valid", self.valid),
            ("error", self.error),
            ("npix", self.npix),
        ):
            if array is not None and array.shape != self.study.shape:
                raise SpectrumError(
                    f"{name} has shape {array.shape}, study {self.study.name} has tiles of shape {self.study.shape}"
                )

    @property
    def image(self) -> NDArray[np.float64]:
        """The flat image, NaN where there is no detector: ``study.view.layout`` says in which order."""
        return to_image(np.where(self.valid, self.signal, np.nan))

    def masked(self, no_detector: NDArray[np.bool_]) -> "Spectrum":
        """The same spectrum with further pixels without a detector (True there), in tiles or as an image."""
        missing = no_detector if no_detector.shape == self.study.shape else to_tiles(no_detector, self.study)
        valid = self.valid & ~missing.astype(bool)
        return replace(self, signal=np.where(valid, self.signal, np.nan), valid=valid)


def to_image(tiles: NDArray) -> NDArray:
    """From (runs, slices, x, y) to the flat image (runs * x, slices * y)."""
    runs, slices, x, y = tiles.shape
    return tiles.transpose(0, 2, 1, 3).reshape(runs * x, slices * y)


def to_tiles(image: NDArray, study: Study) -> NDArray:
    """From a flat image to (runs, slices, x, y).

    Raises
    ------
    SpectrumError
        If the image has another shape than the study's.
    """
    if image.shape != study.image_shape:
        raise SpectrumError(
            f"the image has shape {' x '.join(map(str, image.shape)) or '()'}; study {study.name} needs "
            f"{study.image_shape[0]} x {study.image_shape[1]} ({study.view.layout})"
        )
    runs, slices, x, y = study.shape
    return image.reshape(runs, x, slices, y).transpose(0, 2, 1, 3)


def counted(spectrum: Spectrum, mean_counts: float, seed: int) -> Spectrum:
    """A spectrum as counts: Poisson noise with ``mean_counts`` a valid pixel on average, errors the root of the counts.

    A pixel without a count has an error of one.

    Raises
    ------
    SpectrumError
        If the spectrum is zero everywhere.
    """
    rng = np.random.default_rng(seed)
    expected = np.where(spectrum.valid, np.maximum(spectrum.signal, 0), 0)
    if not expected.sum() > 0:
        raise SpectrumError("there is no intensity to count in this view; change the parameters or the view")
    expected *= mean_counts * spectrum.valid.sum() / expected.sum()
    counts = rng.poisson(expected).astype(float)
    return Spectrum(
        spectrum.study,
        np.where(spectrum.valid, counts, np.nan),
        spectrum.valid,
        np.where(spectrum.valid, np.sqrt(np.maximum(counts, 1)), np.nan),
    )
