"""What is on screen as a Python script that makes it again."""

from pathlib import Path
from typing import Any

from .. import __version__
from .state import State

HEAD = '''"""What the page of magnoscope {version} shows of {file}, made again."""

from dataclasses import replace
from pathlib import Path

import magnoscope as mg
from magnoscope.cuts import cut
from magnoscope.plot import plot_explanation, plot_verdict, save_figure
from magnoscope.plot_cuts import plot_cuts
from magnoscope.trust.best_match import best_match, match_at
from magnoscope.trust.weights import load_weights, shipped_weights
'''


def script(state: State, study: str, shown: dict[str, Any]) -> str:
    """The script.

    Parameters
    ----------
    state : State
    study : str
        Name of a study that ships, or the path of its file.
    shown : dict
        What the page shows: ``resolution``, ``slice`` (run, slice), ``cut`` (settings of a cut).
    """
    origin = state.origin
    digest = f"  # sha256 {origin.sha256}" if origin.sha256 else ""
    mask = f", mask={origin.mask!r}" if origin.mask else ""
    lines = [
        HEAD.format(version=__version__, file=_in_docstring(origin.name)),
        f"study = mg.load_study({study!r})",
        f"spectrum = mg.read_spectrum({origin.name!r}, study{mask}){digest}",
        f"simulator = mg.Simulator(study, {shown['resolution']!r})",
    ]
    lines += _judged(state) + _moved(state) + _figures(state, shown)
    return "\n".join(lines) + "\n"


def _in_docstring(name: str) -> str:
    return repr(name)[1:-1].replace('"', "'")


def _judged(state: State) -> list[str]:
    if state.verdict is None:
        return [
            "",
            "# no weights: the candidates at the study's reference values",
            "matches = {name: best_match(simulator, spectrum, name, None) for name in study.classes}",
        ]
    path = "shipped_weights(study)" if state.weights_path is None else repr(Path(state.weights_path).name)
    lines = [
        f"weights, warning = load_weights({path}, study)",
        "",
        "verdict = mg.classify(spectrum, weights, simulator)",
        "print(warning or '', verdict.sentence)",
        "for name, score in verdict.scores.items():",
        "    print(name, score, verdict.matches[name].match.chi_square, verdict.matches[name].parameters)",
        "matches = dict(verdict.matches)",
    ]
    if state.explanation is not None:
        lines += [
            "",
            f"explanation = mg.explain(verdict, weights, {state.explanation.name!r}, "
            f"{state.explanation.method!r}, seed=0)",
            "print(explanation.as_dict()['slices'][:5])",
        ]
    return lines


def _moved(state: State) -> list[str]:
    lines = []
    for name, parameters in state.moved.items():
        values = {key: float(value) for key, value in parameters.items()}
        lines.append(f"matches[{name!r}] = match_at(simulator, spectrum, {name!r}, {values!r})")
    return (["", "# where the sliders are"] if lines else []) + lines


def _figures(state: State, shown: dict[str, Any]) -> list[str]:
    settings = shown["cut"]
    run, number = shown["slice"]
    at = {key: tuple(map(float, value)) for key, value in settings["at"].items()}
    lines = [
        "",
        f"one = cut(spectrum, matches, {settings['along']!r}, {settings['ei']!r}, {at!r})",
        "print(one.where, one.chi_square)",
        'save_figure(plot_cuts([one], study.title), Path("cut.png"))',
        "",
        "# the slice shown: data, candidates and the difference of the first two",
        f"run, number = {run}, {number}",
        f"first, second = matches[{state.order[0]!r}].match.fitted, matches[{state.order[-1]!r}].match.fitted",
        "print(spectrum.signal[run, number], (first - second)[run, number])",
    ]
    if state.verdict is not None:
        lines.append('save_figure(plot_verdict(replace(verdict, matches=matches)), Path("verdict.png"))')
    if state.explanation is not None:
        lines.append('save_figure(plot_explanation(explanation), Path("explanation.png"))')
    return lines
