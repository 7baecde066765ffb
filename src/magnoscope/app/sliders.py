"""Sliders for the exchange parameters of each candidate; a change is simulated at once."""

from collections.abc import Callable

import panel as pn

from ..hamiltonian import Parameter
from .state import State
from .words import plain, text

HINT = "A change is simulated when the slider is let go."
STEPS = 200
"""Steps of a slider over a parameter's prior."""


class Sliders:
    """Sliders of every candidate.

    Attributes
    ----------
    view : panel.viewable.Viewable
    of : dict of str to dict of str to panel slider
        By candidate and parameter.
    """

    def __init__(
        self,
        state: State,
        moved: Callable[[str, dict[str, float]], None],
        back: Callable[[str], None],
    ) -> None:
        self._moved, self._quiet = moved, False
        self.status = text(f"<p class=note>{HINT}</p>")
        self.of: dict[str, dict[str, pn.widgets.FloatSlider]] = {}
        tabs = []
        for name in state.order:
            model = state.study.model(name)
            own = {p.name: self._slider(name, p, state.matches[name].parameters[p.name]) for p in model.parameters}
            self.of[name] = own
            best = pn.widgets.Button(label="best match", width=150)
            best.on_click(lambda event, name=name: back(name))
            reference = pn.widgets.Button(label="reference values", width=150)
            reference.on_click(lambda event, name=name: self._refer(name))
            rows = pn.FlexBox(*own.values())
            buttons = pn.Row(*([best] if state.verdict is not None else []), reference)
            tabs.append((name, pn.Column(rows, buttons, sizing_mode="stretch_width")))
        self._references = {
            name: {p.name: p.reference for p in state.study.model(name).parameters} for name in state.order
        }
        self.view = pn.Column(text("<h2>Parameters</h2>"), pn.Tabs(*tabs), self.status, sizing_mode="stretch_width")

    def open(self, state: State) -> None:
        """Put all sliders where the simulations of another spectrum are."""
        for name in self.of:
            self.set(name, state.matches[name].parameters)
        self.say(HINT)

    def set(self, name: str, parameters: dict[str, float]) -> None:
        """Put the sliders of a candidate where its simulation is, without another."""
        self._quiet = True
        try:
            for key, value in parameters.items():
                slider = self.of[name][key]
                slider.value = min(max(value, slider.start), slider.end)
        finally:
            self._quiet = False

    def say(self, message: str, wrong: bool = False) -> None:
        """Say what became of a change."""
        kind = "error" if wrong else "note"
        self.status.object = f"<p class={kind}>{plain(message)}</p>"

    def values(self, name: str) -> dict[str, float]:
        """Where the sliders of a candidate are, meV."""
        return {key: float(slider.value) for key, slider in self.of[name].items()}

    def _refer(self, name: str) -> None:
        self.set(name, self._references[name])
        self._moved(name, self.values(name))

    def _slider(self, name: str, parameter: Parameter, value: float) -> pn.widgets.FloatSlider:
        low, high = parameter.prior
        slider = pn.widgets.FloatSlider(
            label=f"{parameter.name} (meV), reference {parameter.reference:g}",
            start=low,
            end=high,
            value=min(max(value, low), high),
            step=(high - low) / STEPS,
            format="0.000",
            width=280,
        )
        slider.param.watch(lambda event: self._let_go(name), "value_throttled")
        return slider

    def _let_go(self, name: str) -> None:
        if not self._quiet:
            self._moved(name, self.values(name))
