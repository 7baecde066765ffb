"""From a spectrum to a verdict: which model, how sure, and whether to believe it at all."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .simulate import Simulator
from .spectrum import Spectrum
from .trust.best_match import BestMatch, best_match
from .trust.signals import run_network, signal_values
from .trust.weights import Weights, load_weights, shipped_weights

LEAST_P = 0.01
"""Below this p-value an input counts as out of distribution."""
MEANING = {
    "unexplained_structure": "it shows structure that no simulation has, such as background or phonons",
    "poor_match": "no parameters of any model describe it as they describe simulations",
    "beyond_priors": "parameters beyond the priors would describe it better, so widen them and train again",
    "contradicting_runs": "its runs ask for different parameters, so look at their order and energies",
}
"""What a signal that raised doubt says of a spectrum, where more can be said than that it looks unusual."""


@dataclass(frozen=True)
class Verdict:
    """What is said of one spectrum.

    Attributes
    ----------
    label : str or None
        The model; None when the input is out of distribution.
    nearest : str
        The model of the largest score, whatever that is worth.
    label_set : tuple of str
        Models that cannot be told apart at the promised coverage (split conformal); never without ``nearest``, nor
        without ``better_match``.
    scores, probabilities : dict
        DUQ's K, and the calibrated softmax.
    in_distribution : bool
    p_value : float
        Share of held-back simulations that are as unlike the training data as this input.
    signals : dict
        Value and p-value of each signal behind it.
    matches : dict
        The best simulated match of each model.
    better_match : str or None
        A model whose best match describes the spectrum better than that of ``nearest``, by the emulator that found it
        and by the simulator: they contradict the network. None also where no emulator found the matches: in weights
        without one, and of spectra in which the noise of no tile can be told.
    """

    spectrum: Spectrum
    label: str | None
    nearest: str
    label_set: tuple[str, ...]
    scores: dict[str, float]
    probabilities: dict[str, float]
    in_distribution: bool
    p_value: float
    signals: dict[str, dict[str, float]]
    matches: dict[str, BestMatch]
    warning: str | None
    better_match: str | None = None

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        if not self.in_distribution:
            worst = min(self.signals, key=lambda name: self.signals[name]["p_value"])
            meaning = f"; {MEANING[worst]}" if worst in MEANING else ""
            return (
                f"This spectrum is unlike the training simulations (p = {self.p_value:.3g}, raised by the "
                f"{worst.replace('_', ' ')}{meaning}): no model is named; the nearest would be {self.nearest}. Check "
                "the study's axes, energies and mask, or none of the models is right."
            )
        if self.better_match is not None:
            here, there = (self.matches[name].match.chi_square for name in (self.nearest, self.better_match))
            return (
                f"The network takes this spectrum for {self.nearest}'s (K = {self.scores[self.nearest]:.3f}), but the "
                f"best match of {self.better_match} describes it better (chi-square {there:.3f} against {here:.3f}): "
                "neither is to be trusted alone; fit both with `magnoscope compare`."
            )
        if len(self.label_set) > 1:
            return (
                f"{self.nearest} is the nearer model (K = {self.scores[self.nearest]:.3f}), but "
                f"{' and '.join(self.label_set)} cannot be told apart at the promised coverage; measure more."
            )
        return (
            f"{self.nearest} (K = {self.scores[self.nearest]:.3f}, p = {self.p_value:.2g} for being like the training "
            "simulations)."
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "label": self.label,
            "nearest": self.nearest,
            "label_set": list(self.label_set),
            "scores": self.scores,
            "probabilities": self.probabilities,
            "in_distribution": self.in_distribution,
            "p_value": self.p_value,
            "signals": self.signals,
            "matches": {
                name: {"chi_square": m.match.chi_square, "unexplained": m.match.unexplained, "parameters": m.parameters}
                for name, m in self.matches.items()
            },
            "better_match": self.better_match,
            "study": self.spectrum.study.name,
            "message": self.sentence,
            "warning": self.warning,
        }


def classify(
    spectrum: Spectrum, weights: str | Path | Weights | None = None, simulator: Simulator | None = None
) -> Verdict:
    """Classify a spectrum.

    Parameters
    ----------
    spectrum : Spectrum
    weights : path or Weights, optional
        By default those that ship for the study.
    simulator : Simulator, optional
        One that is ready already, for the best matches.

    Raises
    ------
    WeightsError
        If there are no weights for this study.
    """
    study, warning = spectrum.study, None
    if not isinstance(weights, Weights):
        weights, warning = load_weights(weights or shipped_weights(study), study)
    output = run_network(weights, spectrum)
    calibration = weights.calibration
    k = output.scores[0].numpy().astype(float)
    probabilities = calibration.probabilities(output.logits.numpy().astype(float))[0]
    simulator = simulator or Simulator(study)
    estimates = None if output.parameters is None else output.parameters[0].numpy().astype(float)
    measured = np.where(spectrum.valid, spectrum.signal, 0.0)
    compared = None if calibration.emulator is None else [calibration.emulator.compare(measured, spectrum.valid)]
    pointed = compared is not None and compared[0].tiles > 0
    if compared and pointed:
        estimates = compared[0].scaled
    matches = {
        name: best_match(simulator, spectrum, name, None if estimates is None else estimates[i], pointed)
        for i, name in enumerate(study.classes)
    }
    values, noise = signal_values(calibration, output, measured[None], spectrum.valid[None], compared)
    single, combined = (p[0] for p in calibration.p_values(values, noise))
    p_value = float(combined)
    nearest = study.classes[int(k.argmax())]
    inside = p_value >= LEAST_P
    better = _better_match(matches, study.classes[compared[0].nearest], nearest) if compared and pointed else None
    named = calibration.label_sets(probabilities[None], k[None])[0]
    if better is not None:
        named[study.classes.index(better)] = True
    return Verdict(
        spectrum=spectrum,
        label=nearest if inside else None,
        nearest=nearest,
        label_set=tuple(c for c, x in zip(study.classes, named, strict=True) if x),
        scores={c: float(x) for c, x in zip(study.classes, k, strict=True)},
        probabilities={c: float(x) for c, x in zip(study.classes, probabilities, strict=True)},
        in_distribution=bool(inside),
        p_value=p_value,
        signals={
            name: {"value": float(v), "p_value": float(p)}
            for name, v, p in zip(calibration.signals, values[0], single, strict=True)
        },
        matches=matches,
        warning=warning,
        better_match=better,
    )


def _better_match(matches: dict[str, BestMatch], explains_most: str, nearest: str) -> str | None:
    """A model that emulator and simulator both prefer to the network's, for either alone can be off."""
    best = min(matches, key=lambda name: matches[name].match.chi_square)
    return best if best == explains_most and best != nearest else None
