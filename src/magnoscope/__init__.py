"""Which exchange model made a neutron spectrum, how sure is that, and where in the data is the evidence.

Examples
--------
>>> import magnoscope as mg
>>> study = mg.load_study("pcsmo")
>>> spectrum = mg.simulate(study, "goodenough", JF1=-11.0)
>>> verdict = mg.classify(mg.read_spectrum("measured.npy", study))  # doctest: +SKIP
"""

from importlib.metadata import version
from typing import TYPE_CHECKING

from .lazy import import_when_used

__version__ = version("magnoscope")

if TYPE_CHECKING:
    from .errors import MagnoscopeError
    from .explain import Explanation, explain
    from .io.images import read_spectrum, write_spectrum
    from .simulate import Simulator, simulate
    from .spectrum import Spectrum
    from .studies import load_study
    from .study import Study
    from .verdict import Verdict, classify

import_when_used(
    __name__,
    {
        "Explanation": "explain",
        "MagnoscopeError": "errors",
        "Simulator": "simulate",
        "Spectrum": "spectrum",
        "Study": "study",
        "Verdict": "verdict",
        "classify": "verdict",
        "explain": "explain",
        "load_study": "studies",
        "read_spectrum": "io.images",
        "simulate": "simulate",
        "write_spectrum": "io.images",
    },
)

__all__ = [
    "Explanation",
    "MagnoscopeError",
    "Simulator",
    "Spectrum",
    "Study",
    "Verdict",
    "classify",
    "explain",
    "load_study",
    "read_spectrum",
    "simulate",
    "write_spectrum",
]
