"""How to share out counting time between runs: T-optimal design.

A. C. Atkinson and V. V. Fedorov, Biometrika 62, 57 (1975): time is best spent such that the rival, at the parameters
that then suit it best, is told from the truth as fast as possible. The mean over truths is that of logarithms, so
that a factor in time counts the same whether a truth is easily told or hardly.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import lsq_linear

from .expected import Bowls

ROUNDS = 100
"""Steps of the multiplicative algorithm, under which each share grows by what its run gives relative to the mean."""
LEAST = 1e-9
"""Log-likelihood ratio that stands for none, so that equal models divide no zero by zero."""


def refitted(bowls: Bowls, time: NDArray[np.float64]) -> NDArray[np.float64]:
    """Expected log-likelihood ratio of each run, (runs,) in one unit of time, once the rival suits a measurement best.

    Parameters
    ----------
    time : (runs,)
        For which each run is measured; the rival is refitted, to second order and within its prior, to those above
        zero.
    """
    information = np.tensordot(time, bowls.information, 1)
    gradient = time @ bowls.gradient
    values, vectors = np.linalg.eigh(information)
    kept = values > 1e-10 * max(values[-1], 1e-300)
    root = np.sqrt(values[kept])[:, None] * vectors[:, kept].T
    move = np.zeros(len(gradient))
    if kept.any():
        aim = (vectors[:, kept].T @ gradient) / np.sqrt(values[kept])
        move = lsq_linear(root, aim, (np.minimum(bowls.low, -1e-12), np.maximum(bowls.high, 1e-12)), method="bvls").x
    curved = np.einsum("a,rab,b->r", move, bowls.information, move) / 2
    return np.maximum(bowls.level - bowls.gradient @ move + curved, 0.0)


def best_shares(truths: Sequence[Bowls], rounds: int = ROUNDS) -> NDArray[np.float64]:
    """Shares of the time (runs,) that tell the truths from their rivals fastest, on the mean of the logarithm."""
    runs = len(truths[0].level)
    shares = np.full(runs, 1 / runs)
    for _ in range(rounds):
        gain = np.zeros(runs)
        for bowls in truths:
            each = refitted(bowls, shares) + LEAST
            gain += each / (shares @ each)
        shares = shares * gain / len(truths)
        shares /= shares.sum()
    return shares
