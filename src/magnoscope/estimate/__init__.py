"""Exchange parameters from a spectrum, and how much better one candidate describes it than another."""

from .comparison import Comparison, compare
from .fit import DRAWS, Fit, fit

__all__ = ["DRAWS", "Comparison", "Fit", "compare", "fit"]
