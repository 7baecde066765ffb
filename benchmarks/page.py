"""What the page takes: start-up to interactive, upload to verdict, a slider to its new pictures.

Wall time, and processor time of the server and of Chromium, which other work on the machine changes less. A verdict
is there when its sentence, label set, p, and K and chi-square of every candidate are on screen; pictures follow. Needs
Chromium (`make browser`).

    python benchmarks/page.py [IMAGE] [--figures FOLDER]
"""

import argparse
import contextlib
import io
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from PIL import Image
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "browser"))
from conftest import FLAGS, Server, Visitor, chromium, start, stop
from magnoscope.fetch import find_measurement, shipped_example
from magnoscope.studies import default_study, load_study

LIMITS = {"start-up to interactive": 10, "upload to verdict": 5, "slider to new pictures": 2}
"""Seconds on a machine that does nothing else."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", nargs="?", type=Path)
    parser.add_argument("--figures", type=Path, help="Folder for screenshots of what the page begins with.")
    arguments = parser.parse_args()
    study = load_study(default_study())
    given = arguments.image or find_measurement(study.name, study.downloads) or shipped_example(study.name)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        mine = Path(folder) / "mine.npy"
        np.save(mine, np.load(given) * 2)  # not the file that the page begins with
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        server = start()
        watch = Watch(server)
        visitor = Visitor(browser.new_context(viewport={"width": 1400, "height": 1000}), server.address)
        visitor.page.locator("input.filepond--browser").first.wait_for(state="attached")
        watch.says("start-up to interactive")
        visitor.see("against held-back simulations")
        watch.says("start-up to first verdict")
        visitor.until("shares", "model.title.text.includes('being worked out')")
        watch.says("start-up to first pictures")
        visitor.until("shares", "model.title.text.includes('shapley')")
        watch.says("start-up to Shapley shares")
        if arguments.figures:
            draw(visitor, arguments.figures)
        watch.begin()
        visitor.upload(mine)
        visitor.see("(uploaded)")  # in one change with the verdict
        watch.says("upload to verdict")
        visitor.until("shares", "!model.title.text.includes('shapley')")
        watch.says("upload to pictures")
        visitor.until("shares", "model.title.text.includes('shapley')")
        watch.says("upload to Shapley shares")
        handle = visitor.page.locator(".noUi-handle").first
        handle.focus()
        watch.begin()
        handle.press("ArrowRight")
        visitor.see("simulated in")
        watch.says("slider to new pictures")
        browser.close()
        stop(server)


FIGURES = {
    "page-verdict": (None, "Data, best matches"),
    "page-pictures": ("Data, best matches", "Slice:"),
    "page-slice": ("Slice:", "Raw against cleaned"),
    "page-cuts": ("Parameters", "The same as a script"),
}
"""Of each figure the headings that it begins with and ends at."""
COLOURS, LARGEST = (256, 192, 128, 96, 64), 245_000
"""Numbers of colours that are tried, until a file has fewer bytes than that."""


def draw(visitor: Visitor, folder: Path) -> None:
    """Write screenshots of the parts of the page."""
    visitor.page.mouse.move(0, 0)
    whole = Image.open(io.BytesIO(visitor.page.screenshot(full_page=True))).convert("RGB")

    def top(heading: str | None) -> int:
        found = visitor.page.locator("h2", has_text=heading).first.bounding_box() if heading else None
        return int(found["y"] + visitor.page.evaluate("window.scrollY")) - 6 if found else 0

    for name, (first, after) in FIGURES.items():
        part, path = whole.crop((0, top(first), whole.width, top(after))), folder / f"{name}.png"
        for colours in COLOURS:
            part.quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)
            if path.stat().st_size < LARGEST:
                break


class Watch:
    """Wall time since the server was started or :meth:`begin`, and processor time since then."""

    def __init__(self, server: Server) -> None:
        self._server, self._begun = server, server.begun
        self._before, self._before_browser = 0.0, browser_seconds(server)

    def begin(self) -> None:
        self._begun = time.monotonic()
        self._before, self._before_browser = self._server.cpu_seconds, browser_seconds(self._server)

    def says(self, what: str) -> None:
        wall, own = time.monotonic() - self._begun, self._server.cpu_seconds - self._before
        its = browser_seconds(self._server) - self._before_browser
        limit = f" (limit {LIMITS[what]} s)" if what in LIMITS else ""
        print(f"{what}: {wall:.1f} s{limit}; processor: server {own:.1f} s, Chromium {its:.1f} s", flush=True)


def browser_seconds(server: Server) -> float:
    """Processor time of all that runs for this program but the server."""
    total = 0.0
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if child.pid != server.process.pid:
                times = child.cpu_times()
                total += times.user + times.system
    return total


if __name__ == "__main__":
    main()
