"""Exchange parameters from a spectrum, and how much better one candidate describes it than another."""

from .comparison import Comparison, compare
from .crew import ALONE, Crew, crew_of, workers_of
from .fit import DRAWS, DRAWS_GUIDED, Extras, fit
from .responses import Simulators
from .result import Fit

__all__ = [
    "ALONE",
    "DRAWS",
    "DRAWS_GUIDED",
    "Comparison",
    "Crew",
    "Extras",
    "Fit",
    "Simulators",
    "compare",
    "crew_of",
    "fit",
    "workers_of",
]
