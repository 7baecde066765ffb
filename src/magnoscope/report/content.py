"""What a report holds, gathered from the stages before it."""

import hashlib
import platform
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..cuts import Cut, telling_cuts
from ..estimate import Comparison
from ..explain import Explanation, explain
from ..spectrum import Spectrum
from ..study import Study
from ..trust.weights import Weights
from ..verdict import Verdict, classify

LIBRARIES = ("magnoscope", "torch", "numpy", "scipy", "matplotlib", "h5py", "periodictable", "gemmi", "spglib")
OURS = (
    "K. T. Butler, M. D. Le, J. Thiyagalingam and T. G. Perring, J. Phys.: Condens. Matter 33, 194006 (2021), "
    "doi:10.1088/1361-648X/abea1c: the method that magnoscope carries on",
    "J. van Amersfoort, L. Smith, Y. W. Teh and Y. Gal, Proc. ICML 2020, arXiv:2003.02037: the scores K",
    "V. Vovk, A. Gammerman and G. Shafer, Algorithmic Learning in a Random World, Springer (2005): label sets",
    "E. Strumbelj and I. Kononenko, Knowl. Inf. Syst. 41, 647 (2014): Shapley shares",
)
"""What a report rests on besides the study's and the instrument's own sources."""
VUONG = "Q. H. Vuong, Econometrica 57, 307 (1989): comparison of fitted candidates"


@dataclass(frozen=True)
class Source:
    """A file that went into a report: what for, its name without folders, and the sha256 of its content."""

    role: str
    name: str
    sha256: str

    @classmethod
    def of(cls, role: str, path: Path) -> "Source":
        """The source that a file is."""
        with open(path, "rb") as file:
            return cls(role, path.name, hashlib.file_digest(file, "sha256").hexdigest())


@dataclass(frozen=True)
class Report:
    """All that a report says.

    Attributes
    ----------
    verdict : Verdict
    explanation : Explanation or None
        None where there is but one candidate.
    cuts : tuple of Cut
    comparison : Comparison or None
        Of the fitted candidates, where asked for.
    card : dict
        Of the weights.
    promised : float
        Coverage of the label sets.
    sources : tuple of Source
    study_text : str
        The study's file.
    command : str
        What made the report.
    versions : dict
        Of libraries and Python.
    citations : tuple of str
        To give, in this order.
    """

    verdict: Verdict
    explanation: Explanation | None
    cuts: tuple[Cut, ...]
    comparison: Comparison | None
    card: dict[str, Any]
    promised: float
    sources: tuple[Source, ...]
    study_text: str
    command: str
    versions: dict[str, str]
    citations: tuple[str, ...]


def make_report(
    spectrum: Spectrum,
    weights: Weights,
    warning: str | None = None,
    sources: tuple[Source, ...] = (),
    study_text: str = "",
    command: str = "",
    comparison: Comparison | None = None,
    seed: int = 0,
    progress: Callable[[str], None] = lambda line: None,
) -> Report:
    """Classify and explain a spectrum, cut it, and gather how that was done.

    Parameters
    ----------
    spectrum : Spectrum
    weights : Weights
    warning : str, optional
        What was said when the weights were read.
    sources : tuple of Source
        Files behind the spectrum and the weights.
    study_text, command : str
        Printed as they are.
    comparison : Comparison, optional
        Of the fitted candidates.
    seed : int
        Of the random orders of the explanation.
    progress : callable
        Told what comes next.
    """
    study = spectrum.study
    progress("verdict and best matches")
    verdict = classify(spectrum, weights)
    if warning:
        verdict = replace(verdict, warning=warning)
    explanation = None
    if len(study.classes) > 1:
        progress("explanation")
        explanation = explain(verdict, weights, seed=seed)
    return Report(
        verdict=verdict,
        explanation=explanation,
        cuts=telling_cuts(spectrum, verdict.matches),
        comparison=comparison,
        card=weights.card,
        promised=weights.calibration.coverage,
        sources=sources,
        study_text=study_text,
        command=command,
        versions=versions(),
        citations=citations(study, comparison is not None),
    )


def versions() -> dict[str, str]:
    """Of Python and of the libraries that numbers depend on."""
    found = {"Python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def citations(study: Study, fitted: bool) -> tuple[str, ...]:
    """What a publication should cite: the study's sources, the instrument's, the methods'."""
    own = [study.citation, study.downloads.citation if study.downloads else "", study.spectrometer.citation]
    return tuple(dict.fromkeys(text for text in (*own, *OURS, *((VUONG,) if fitted else ())) if text))
