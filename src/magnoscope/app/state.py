"""What is on screen: one frozen object, and the steps from one to the next."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..cuts import pixel_errors
from ..explain import Explanation, explain
from ..simulate import Simulator
from ..spectrum import Spectrum
from ..study import Study
from ..trust.best_match import BestMatch, best_match
from ..trust.weights import Weights
from ..verdict import Verdict, classify


@dataclass(frozen=True)
class Origin:
    """Where a spectrum is from, as far as it may be told.

    Attributes
    ----------
    name : str
        Of the file, without folders.
    sha256 : str
    what : str
        In words: uploaded, measured, simulated.
    mask : str or None
        Name of the file of further pixels without a detector.
    lines : tuple of str
        What the file holds.
    """

    name: str
    sha256: str = ""
    what: str = "given file"
    mask: str | None = None
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class State:
    """All that the panels show of one spectrum.

    Attributes
    ----------
    spectrum : Spectrum
    origin : Origin
    matches : dict of str to BestMatch
        The simulation of each candidate that is shown.
    weights : Weights or None
    weights_path : str or None
        None: those that ship.
    verdict : Verdict or None
        None without weights.
    explanation : Explanation or None
        None until it is worked out, without weights, or with one candidate alone.
    cleaned : Spectrum or None
        The spectrum as a cleaning network leaves it, where there is one for the study.
    uncleaned : str or None
        Why there is none, or what must be said of the network.
    moved : dict of str to dict of str to float
        Parameters (meV) of the candidates that are not at their best match.
    said : str or None
        What must be said of the candidates.
    """

    spectrum: Spectrum
    origin: Origin
    matches: dict[str, BestMatch]
    weights: Weights | None = None
    weights_path: str | None = None
    verdict: Verdict | None = None
    explanation: Explanation | None = None
    cleaned: Spectrum | None = None
    uncleaned: str | None = None
    moved: dict[str, dict[str, float]] = field(default_factory=dict)
    said: str | None = None

    @property
    def study(self) -> Study:
        """Of the spectrum."""
        return self.spectrum.study

    @property
    def order(self) -> tuple[str, ...]:
        """Names of the candidates, the likeliest first."""
        if self.verdict is not None:
            scores = self.verdict.scores
            return tuple(sorted(self.matches, key=lambda name: -scores[name]))
        return tuple(sorted(self.matches, key=lambda name: self.matches[name].match.chi_square))

    def residual(self, name: str) -> NDArray[np.float64]:
        """Of a candidate (data - simulation) / noise, (runs, slices, axis 0, axis 1); NaN where there is no noise."""
        return (self.spectrum.signal - self.matches[name].match.fitted) / pixel_errors(self.spectrum)[0]


def examine(
    spectrum: Spectrum,
    simulator: Simulator,
    weights: Weights | None,
    origin: Origin,
    warning: str | None = None,
    weights_path: str | None = None,
) -> State:
    """Classify a spectrum; without weights, lay the candidates at their reference values onto it.

    Parameters
    ----------
    spectrum : Spectrum
    simulator : Simulator
        Of its study.
    weights : Weights or None
    origin : Origin
    warning : str, optional
        What was said when the weights were read.
    weights_path : str, optional
        Where they are from; None: those that ship.
    """
    if weights is None:
        names = spectrum.study.classes
        found = {name: best_match(simulator, spectrum, name, None) for name in names}
        return State(spectrum, origin, found, said=warning)
    verdict = classify(spectrum, weights, simulator)
    if warning:
        verdict = replace(verdict, warning=warning)
    return State(spectrum, origin, dict(verdict.matches), weights, weights_path, verdict)


def explained(state: State, method: str = "shapley", seed: int = 0) -> State:
    """With shares of the evidence by slice, where there are weights and candidates to tell apart.

    Parameters
    ----------
    state : State
    method : str
        See :func:`magnoscope.explain.explain`; occlusion is there sixteen times sooner than shapley.
    seed : int
        Of random orders.
    """
    if state.verdict is None or len(state.matches) < 2:
        return state
    return replace(state, explanation=explain(state.verdict, state.weights, method=method, seed=seed))


def moved(state: State, found: BestMatch) -> State:
    """With one candidate at other parameters, such as :func:`magnoscope.trust.best_match.match_at` simulates."""
    name = found.model
    return replace(state, matches=state.matches | {name: found}, moved=state.moved | {name: dict(found.parameters)})


def unmoved(state: State, model: str) -> State:
    """With one candidate at its best match again."""
    if state.verdict is None or model not in state.moved:
        return state
    left = {name: values for name, values in state.moved.items() if name != model}
    return replace(state, matches=state.matches | {model: state.verdict.matches[model]}, moved=left)
