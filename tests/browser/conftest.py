"""A server of the page in a process of its own, and headless Chromium that looks at it."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
PATIENCE_MS = 1000 * int(os.environ.get("MAGNOSCOPE_PATIENCE", 120))
"""How long to wait for anything on a page: machines that run tests may be busy with other things."""
POLLING_MS = 200
"""Between two looks: a look at every frame would have the page drawn all the time, on the server's processor."""
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def _missing(what: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(f"continuous integration must run the browser tests, but {what}")
    pytest.skip(what)


def chromium() -> str:
    names = (os.environ.get("MAGNOSCOPE_CHROMIUM", "chromium"), "chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        _missing("there is no Chromium; `make browser` installs it")
    return str(found)


@dataclass(frozen=True)
class Server:
    """A running page: its address, its process, and when that was started."""

    address: str
    process: subprocess.Popen
    begun: float

    @property
    def cpu_seconds(self) -> float:
        times = psutil.Process(self.process.pid).cpu_times()
        return times.user + times.system


def start(*arguments: object, **environment: str) -> Server:
    begun = time.monotonic()
    words = [sys.executable, "-m", "magnoscope", "app", "--port", "0", "--no-browser", *map(str, arguments)]
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | environment
    )
    line = process.stdout.readline()
    found = re.search(r"http://127\.0\.0\.1:\d+/", line)
    if found is None:
        process.kill()
        raise AssertionError(line + process.stdout.read())
    return Server(found[0], process, begun)


def stop(server: Server) -> str:
    """Stop a server as a user would; what it had to say."""
    server.process.terminate()
    said, _ = server.process.communicate(timeout=60)
    return said


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The page of the worked study."""
    pytest.importorskip("panel")
    found = start()
    yield found
    said = stop(found)
    assert found.process.returncode == 0 and "Traceback" not in said, said


@pytest.fixture(scope="module")  # its event loop must be gone when other tests run
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    path = chromium()
    with playwright.sync_playwright() as running:
        launched = running.chromium.launch(executable_path=path, args=FLAGS)
        yield launched
        launched.close()


class Visitor:
    """A page of a browser, what it asked for and what went wrong there."""

    def __init__(self, context: Any, address: str) -> None:
        self.page = context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(address)

    def upload(self, path: Path, which: int = 0) -> None:
        """Open a file as a user does: 0 the measurement, 1 the mask."""
        self.page.locator("input.filepond--browser").nth(which).set_input_files(path)

    def see(self, text: str) -> Any:
        """Wait for text."""
        found = self.page.get_by_text(text).first
        found.wait_for()
        return found

    def model(self, name: str, code: str) -> Any:
        """A value of the Bokeh model of that name, by an expression of ``model``."""
        return self.page.evaluate(
            f"""(name) => {{ for (const d of Bokeh.documents) {{
                const model = d.get_model_by_name(name); if (model) return ({code}) }} return null }}""",
            name,
        )

    def until(self, name: str, condition: str) -> None:
        """Wait until there is one Bokeh model of that name, and a condition on it holds."""
        self.page.wait_for_function(
            f"""(name) => {{ for (const d of Bokeh.documents) {{
                let model; try {{ model = d.get_model_by_name(name) }} catch {{ return false }}
                if (model) return ({condition}) }} return false }}""",
            arg=name,
            polling=POLLING_MS,
        )

    def shot(self, name: str) -> None:
        """Keep a screenshot of the whole page."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


@pytest.fixture
def visit(browser: Any, server: Server) -> Iterator[Any]:
    """Visits to the page, each by a user of their own."""
    contexts = []

    def call(address: str = "") -> Visitor:
        contexts.append(browser.new_context(viewport={"width": 1420, "height": 1000}))
        return Visitor(contexts[-1], address or server.address)

    yield call
    for context in contexts:
        context.close()
