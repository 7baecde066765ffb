"""Which exchange model made a neutron spectrum, how sure is that, and where in the data is the evidence.

Examples
--------
>>> import magnoscope as mg
>>> study = mg.load_study("pcsmo")
>>> spectrum = mg.simulate(study, "goodenough", JF1=-11.0)
>>> verdict = mg.classify(mg.read_spectrum("measured.npy", study))  # doctest: +SKIP
"""

from importlib.metadata import version

__version__ = version("magnoscope")

from .errors import MagnoscopeError  # noqa: E402
from .explain import Explanation, explain  # noqa: E402
from .io.images import read_spectrum, write_spectrum  # noqa: E402
from .simulate import Simulator, simulate  # noqa: E402
from .spectrum import Spectrum  # noqa: E402
from .studies import load_study  # noqa: E402
from .study import Study  # noqa: E402
from .verdict import Verdict, classify  # noqa: E402

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
