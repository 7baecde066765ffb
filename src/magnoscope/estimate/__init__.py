"""Exchange parameters from a spectrum, and how much better one candidate describes it than another."""

from .comparison import Comparison, compare
from .fit import Fit, fit

__all__ = ["Comparison", "Fit", "compare", "fit"]
