"""The page before there is anything to show: it is there while what reads and judges is being imported."""

from typing import Any

import panel as pn

from .dropper import Dropper
from .service import Service, Work
from .words import plain, text


class Shell:
    """The page's title, what opens a measurement, and a line of what is going on.

    Attributes
    ----------
    view : panel.viewable.Viewable
    dropper, masks : Dropper
        For measurements and for masks.
    status : panel.pane.HTML
    body : panel.Column
        What the page shows of a measurement; empty.
    work, reasons : Work
        The user's work; what explains must not keep sliders waiting.
    """

    def __init__(self, service: Service) -> None:
        self.work, self.reasons = Work(service.pool), Work(service.pool)
        self.dropper = Dropper(service.largest_mb, label="measurement", sizing_mode="stretch_width")
        self.masks = Dropper(service.largest_mb, label="mask", sizing_mode="stretch_width")
        self.status = text("", css_classes=["status"])
        self.body = pn.Column(sizing_mode="stretch_width")
        self.view = pn.Column(
            text(f"<h1>{plain(service.study.title)}</h1>"),
            pn.Row(
                pn.Column(text("Open a measurement: " + _formats(service.largest_mb)), self.dropper),
                pn.Column(text("Mask, if any (boolean .npy, True: no detector); before the measurement"), self.masks),
                sizing_mode="stretch_width",
            ),
            self.status,
            self.body,
            sizing_mode="stretch_width",
            max_width=1400,
            styles={"margin": "auto"},
        )

    def say(self, message: str) -> None:
        """What is going on; nothing where there is no message."""
        self.status.object = f"<p class=note role=status>{plain(message)} …</p>" if message else ""

    def wrong(self, message: str) -> None:
        """What went wrong."""
        self.status.object = f"<p class=error role=alert>{plain(message)}</p>"


def _formats(largest_mb: int) -> str:
    return (
        "magnoscope's .h5, a .npy image (NaN: no detector), a histogram of Mantid or Horace; told by content, "
        f"{largest_mb} MB at most"
    )


def page_of(service: Service) -> pn.viewable.Viewable:
    """A page for a user who comes: the shell at once, the rest when it is imported."""
    shell = Shell(service)

    def opened(page: Any, error: BaseException | None) -> None:
        if error is not None:
            shell.wrong(f"magnoscope failed: {type(error).__name__}: {error}")
            return
        page(service, shell).begin()

    def begin() -> None:
        shell.say("starting")
        shell.work.ask(_page, opened)

    pn.state.onload(begin)
    return shell.view


def _page() -> Any:
    """The class of pages; PyTorch, which it needs, takes seconds to import."""
    from .page import Page

    return Page
