"""What a measurement that is still to come is expected to say: a simulation, with the variance its noise will have.

With Gaussian noise of a known variance the expected log-likelihood ratio of the truth against a rival is half the sum
of (difference / sigma)^2, where the rival has the scale and the background in each tile that suit it best.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..dataset.noise import usual_variance
from ..errors import SpectrumError
from ..estimate.descent import Curvature, Point
from ..estimate.likelihood import Profile, TileLikelihood, lay
from ..spectrum import Spectrum

FEWEST = 12
"""Pixels that a tile needs before a scale and a background can be fitted to it."""


@dataclass(frozen=True, kw_only=True)
class ExpectedLikelihood(TileLikelihood):
    """A simulated truth as the measurement, with known variance: log-likelihoods are those of rivals less its own.

    Attributes
    ----------
    variance : (n_tiles, n_pixels)
        Of the noise of a pixel in one unit of counting time.
    """

    variance: NDArray[np.float64]

    @classmethod
    def of_truth(cls, truth: Spectrum, variance: NDArray[np.float64] | None = None) -> "ExpectedLikelihood":
        """Take up a simulation as what will be measured.

        Parameters
        ----------
        truth : Spectrum
        variance : (runs, slices, x, y), optional
            Of the noise; that of a typical measurement unless given.

        Raises
        ------
        SpectrumError
            If no tile of it can be seen.
        """
        as_tiles = truth.study.view.as_tiles
        valid = as_tiles(truth.valid)
        seen = valid.reshape(-1, valid.shape[2] * valid.shape[3])
        if variance is None:
            variance = usual_variance(np.where(truth.valid, truth.signal, 0), truth.valid)
        variance = as_tiles(variance).reshape(seen.shape)
        tiles = np.flatnonzero((seen.sum(1) >= FEWEST) & (variance.max(1) > 0))
        if not len(tiles):
            raise SpectrumError(
                f"no tile of study {truth.study.name} would show anything: there is no intensity, or no detector sees "
                "the pixels; check the runs and the view"
            )
        return cls(truth, tiles, variance=variance[tiles])

    def profile(self, model: NDArray[np.float64]) -> Profile:
        """Fit scale and background of each tile to a rival's simulation from :meth:`simulated`."""
        weight = self.valid.reshape(self.measured.shape) / np.maximum(self.variance, 1e-300)
        scale, background, residual = lay(model, self.measured, weight)
        return Profile(
            scale=scale,
            background=background,
            weight=weight,
            residual=residual,
            mean_square=np.ones(len(scale)),
            log_likelihood=-0.5 * (weight * residual**2).sum(1),
        )

    def by_slice(self, profile: Profile) -> NDArray[np.float64]:
        """Expected log-likelihood ratio of the truth against a rival, (runs, slices), in one unit of time."""
        view, shape = self.spectrum.study.view, self.spectrum.study.shape
        tiles = view.as_tiles(np.zeros(shape))
        flat = np.zeros((tiles.shape[0] * tiles.shape[1], tiles.shape[2] * tiles.shape[3]))
        flat[self.tiles] = 0.5 * profile.weight * profile.residual**2
        return view.from_tiles(flat.reshape(tiles.shape)).sum((2, 3))

    def by_run(self, profile: Profile, about: Curvature) -> "Bowls":
        """The same for each run, and how it changes as the rival's parameters do."""
        runs, tiles = self.spectrum.study.shape[0], self.spectrum.study.view.as_tiles(self.spectrum.signal).shape[1]
        n = about.gradient.shape[1]
        patches = len(about.gradient) // len(self.tiles)
        run = self.tiles // tiles
        level, gradient, information = np.zeros(runs), np.zeros((runs, n)), np.zeros((runs, n, n))
        np.add.at(level, run, -profile.log_likelihood)
        np.add.at(gradient, np.repeat(run, patches), about.gradient)
        np.add.at(information, np.repeat(run, patches), about.information)
        return Bowls(level, gradient, information)


@dataclass(frozen=True)
class Bowls:
    """Expected log-likelihood ratio of a truth against one rival by run, to second order about the rival's best match.

    With the rival's parameters moved by x (in units of their priors) that of run r in one unit of time is
    ``level[r] - gradient[r] @ x + x @ information[r] @ x / 2``, which is never negative.

    Attributes
    ----------
    level : (runs,)
    gradient : (runs, n_parameters)
    information : (runs, n_parameters, n_parameters)
    low, high : (n_parameters,)
        How far the rival's prior lets it move.
    """

    level: NDArray[np.float64]
    gradient: NDArray[np.float64]
    information: NDArray[np.float64]
    low: NDArray[np.float64] | float = -np.inf
    high: NDArray[np.float64] | float = np.inf

    def within(self, point: Point, prior: NDArray[np.float64]) -> "Bowls":
        """The same with the rival kept inside its prior (n_parameters, 2)."""
        low, high = prior.T
        width = high - low
        return Bowls(
            self.level, self.gradient, self.information, (low - point.values) / width, (high - point.values) / width
        )
