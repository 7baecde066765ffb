"""Exchange parameters from a spectrum, and how much better one candidate describes it than another."""

from .comparison import Comparison, compare
from .fit import DRAWS, Extras, fit
from .instrument_errors import Simulators
from .result import Fit

__all__ = ["DRAWS", "Comparison", "Extras", "Fit", "Simulators", "compare", "fit"]
