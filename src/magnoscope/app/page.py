"""The page of one user."""

import logging
import time
from dataclasses import replace
from functools import partial
from typing import Any

import panel as pn

from ..errors import MagnoscopeError
from ..plot import telling_tiles
from ..spectrum import Spectrum
from ..trust.best_match import BestMatch, match_at
from ..views import MapView
from .cleaned import RawAndCleaned
from .cut_panel import CutPanel
from .facts import facts, mask
from .judged import judged
from .maps import Maps
from .one_slice import OneSlice
from .script import script
from .service import RESOLUTION, Service
from .shares import Shares
from .shell import Shell
from .sliders import Sliders
from .state import Origin, State, explained, moved, unmoved
from .upload import UPLOADED, read_upload
from .words import text

QUICK, FINAL = "occlusion", "shapley"
"""Methods of explanation: shown first, and what replaces it."""
COPY = "navigator.clipboard.writeText(source.object ?? source.text ?? source.value)"


class Page:
    """All panels in their order, and what happens between them.

    Attributes
    ----------
    view : panel.viewable.Viewable
    state : State or None
        What is on screen.
    """

    def __init__(self, service: Service, shell: Shell | None = None) -> None:
        self._service, self._shell = service, shell or Shell(service)
        self._work, self._reasons = self._shell.work, self._shell.reasons
        self.state: State | None = None
        self._mask: tuple[str, bytes] | None = None
        self.dropper, self.masks = self._shell.dropper, self._shell.masks
        self.dropper.param.watch(self._uploaded, "value")
        self.masks.param.watch(self._masked, "value")
        self._words = text(""), text(""), text("")  # facts, mask, verdict
        self.status, self.body, self.view = self._shell.status, self._shell.body, self._shell.view

    def begin(self) -> None:
        """Open what the page begins with, or what has come before it could be read."""
        if self.masks.value:
            self._masked()
        if self.dropper.value:
            self._uploaded()
            return
        self._say("reading")
        self._work.ask(self._service.open_first, self._opened)

    # ---- a spectrum comes ------------------------------------------------------------------------------------------

    def _masked(self, event: Any = None) -> None:
        found = self.masks.take()
        if found is not None:
            self._mask = found
            self._say(f"mask {found[0]} is laid over the next measurement that is opened")

    def _uploaded(self, event: Any = None) -> None:
        found = self.dropper.take()
        if found is None:
            return
        name, content = found
        self._say(f"reading {name}")
        self._work.ask(partial(read_upload, name, content, self._service.study, self._mask), self._opened)

    def _opened(self, found: tuple[Spectrum, Origin] | None, error: BaseException | None) -> None:
        if found is None:
            self._wrong(error)
            return
        spectrum, origin = found
        if origin.mask is not None and origin.what == UPLOADED:
            self._mask = None
        self._say(f"judging {origin.name}")
        self._work.ask(partial(self._service.judge, spectrum, origin), self._judged)

    def _judged(self, state: State | None, error: BaseException | None) -> None:
        if state is None:
            self._wrong(error)
            return
        self._tell(state)
        self._say(f"drawing {state.origin.name}")
        self._work.soon(self._drawn)

    def _drawn(self) -> None:
        self._draw()
        self._say("")
        state = self.state
        assert state is not None
        known = state.explanation
        if state.verdict is not None and len(state.matches) > 1 and (known is None or known.method != FINAL):
            self._explain(state, QUICK)

    def _explain(self, state: State, method: str) -> None:
        """Shares of the evidence: at once by a quick method, then by the one to believe."""

        def then(found: State | None, error: BaseException | None) -> None:
            if found is None:
                self._wrong(error)
                return
            self._service.keep(found)
            current = self.state
            if current is None or current.verdict is not state.verdict or found.explanation is None:
                return  # another spectrum has come meanwhile
            first = current.explanation is None
            current = replace(current, explanation=found.explanation)
            self.redraw(current)
            if first:
                self.slice.pick(current, *found.explanation.ordered()[0])
                self._write_script()
            if method == QUICK:
                self._explain(state, FINAL)

        self._reasons.ask(partial(explained, state, method), then)

    # ---- what is on screen -----------------------------------------------------------------------------------------

    def show(self, state: State) -> None:
        """Show a new spectrum."""
        self._tell(state)
        self._draw()

    def _tell(self, state: State) -> None:
        """What a new spectrum is and the verdict on it, before there are pictures."""
        first = self.state is None
        self.state = state
        for pane, fresh in zip(self._words, (facts(state), mask(state), judged(state)), strict=True):
            pane.object = fresh.object
        if first:
            self.body.objects = [pn.Row(*self._words[:2], sizing_mode="stretch_width"), self._words[2]]

    def _draw(self) -> None:
        """All pictures of a new spectrum, in the panels that are there if there are any."""
        state = self.state
        assert state is not None
        if len(self.body) == 2:
            self._build(state)
        else:
            for panel in (self.maps, self.cuts, self.sliders):
                panel.open(state)
            self.shares.show(state)
            self.slice.open(state, *_first_slice(state))
            self.cleaned.show(state)
        self._write_script()

    def _build(self, state: State) -> None:
        self.maps = Maps(state)
        self.slice = OneSlice(state, *_first_slice(state))
        self.shares = Shares(state, self.pick)
        self.cuts = CutPanel(state)
        self.sliders = Sliders(state, self._move, self._back)
        self.script = pn.widgets.TextAreaInput(disabled=True, rows=18, sizing_mode="stretch_width", label="script")
        copy = pn.widgets.Button(label="copy as script", color="primary", width=160)
        copy.js_on_click(args={"source": self.script}, code=COPY)
        whole = pn.widgets.Button(label="show all slices", width=160)
        whole.on_click(lambda event: self.maps.whole())
        refresh = pn.widgets.Button(label="as shown now", width=160)
        refresh.on_click(lambda event: self._write_script())
        self.cleaned = RawAndCleaned(state, self.maps.pictures)
        self.body.extend(
            [
                text("<h2>Data, best matches, residual, evidence</h2>"),
                pn.Row(whole),
                self.maps.view,
                self.shares.view,
                self.slice.view,
                self.cleaned.view,
                self.sliders.view,
                self.cuts.view,
                text("<h2>The same as a script</h2>"),
                pn.Row(copy, refresh),
                self.script,
            ]
        )

    def redraw(self, state: State) -> None:
        """Show another state of the same spectrum in the panels that are there."""
        self.state = state
        for panel in (self.maps, self.shares, self.slice, self.cuts):
            panel.show(state)
        self._write_script()

    def pick(self, run: int, number: int) -> None:
        """Zoom to a slice and show it by itself."""
        if self.state is not None:
            self.maps.zoom(run, number)
            self.slice.pick(self.state, run, number)
            self._write_script()

    def _write_script(self) -> None:
        assert self.state is not None
        shown = {
            "resolution": RESOLUTION,
            "slice": (self.slice.run, self.slice.number),
            "cut": self.cuts.settings,
        }
        self.script.value = script(self.state, self._service.study_name, shown)

    # ---- sliders ---------------------------------------------------------------------------------------------------

    def _move(self, name: str, parameters: dict[str, float]) -> None:
        assert self.state is not None
        spectrum, begun = self.state.spectrum, time.monotonic()
        self.sliders.say(f"simulating {name} …")

        def then(found: BestMatch | None, error: BaseException | None) -> None:
            if found is None:
                self.sliders.say(_message(error), wrong=True)
            elif self.state is not None and self.state.spectrum is spectrum:
                self.redraw(moved(self.state, found))
                seconds = time.monotonic() - begun
                self.sliders.say(f"{name} simulated in {seconds:.1f} s: chi-square {found.match.chi_square:.3f}")

        self._work.ask(lambda: match_at(self._service.simulator, spectrum, name, parameters), then)

    def _back(self, name: str) -> None:
        if self.state is not None and self.state.verdict is not None:
            self.sliders.set(name, self.state.verdict.matches[name].parameters)
            self.redraw(unmoved(self.state, name))
            self.sliders.say(f"{name} is at its best match")

    # ---- words -----------------------------------------------------------------------------------------------------

    def _say(self, message: str) -> None:
        self._shell.say(message)

    def _wrong(self, error: BaseException | None) -> None:
        self._shell.wrong(_message(error))


def _message(error: BaseException | None) -> str:
    """An error in words; one that is no user's is logged, and said to be ours."""
    if isinstance(error, MagnoscopeError):
        return str(error)
    logging.getLogger(__name__).error("the page failed", exc_info=error)
    return f"magnoscope failed: {type(error).__name__}: {error}; what was shown before still stands"


def _first_slice(state: State) -> tuple[int, int]:
    """The slice in which the candidates differ most, the middle one without a verdict."""
    if state.verdict is not None and len(state.matches) > 1 and isinstance(state.study.view, MapView):
        return telling_tiles(state.verdict, 1)[0]
    return 0, state.study.shape[1] // 2
