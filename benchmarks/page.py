"""What the page takes: start-up to interactive, upload to verdict, a slider to its new pictures.

Wall time, and the server's own processor time, which other work on the machine changes less. Needs Chromium
(`make browser`).

    python benchmarks/page.py [IMAGE]
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "browser"))
from conftest import FLAGS, Visitor, chromium, start, stop
from magnoscope.fetch import find_measurement, shipped_example
from magnoscope.studies import default_study, load_study

LIMITS = {"start-up to interactive": 10, "upload to verdict": 5, "slider to new pictures": 2}
"""Seconds on a machine that does nothing else."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", nargs="?", type=Path)
    study = load_study(default_study())
    given = parser.parse_args().image or find_measurement(study.name, study.downloads) or shipped_example(study.name)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        mine = Path(folder) / "mine.npy"
        np.save(mine, np.load(given) * 2)  # not the file that the page begins with
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        server = start()
        visitor = Visitor(browser.new_context(viewport={"width": 1420, "height": 1000}), server.address)
        visitor.page.locator("input.filepond--browser").first.wait_for(state="attached")
        report("start-up to interactive", time.monotonic() - server.begun, server.cpu_seconds)
        visitor.see("against held-back simulations")
        report("start-up to first verdict", time.monotonic() - server.begun, server.cpu_seconds)
        visitor.until("shares", "model.title.text.includes('shapley')")
        report("start-up to Shapley shares", time.monotonic() - server.begun, server.cpu_seconds)
        begun, before = time.monotonic(), server.cpu_seconds
        visitor.upload(mine)
        visitor.see("(uploaded)")  # all panels come together
        report("upload to verdict", time.monotonic() - begun, server.cpu_seconds - before)
        visitor.until("shares", "model.title.text.includes('shapley')")
        handle = visitor.page.locator(".noUi-handle").first
        handle.focus()
        begun, before = time.monotonic(), server.cpu_seconds
        handle.press("ArrowRight")
        visitor.see("simulated in")
        report("slider to new pictures", time.monotonic() - begun, server.cpu_seconds - before)
        browser.close()
        stop(server)


def report(what: str, wall: float, own: float) -> None:
    limit = f" (limit {LIMITS[what]} s)" if what in LIMITS else ""
    print(f"{what}: {wall:.1f} s, of the server's processor {own:.1f} s{limit}", flush=True)


if __name__ == "__main__":
    main()
