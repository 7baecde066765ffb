"""The page as people use it: in Chromium, with the worked study."""

import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from magnoscope.fetch import shipped_example

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SECONDS_TO_START, SECONDS_TO_VERDICT = 10, 5
"""What the page may take on a machine that does nothing else; here in seconds of the server's own processor time."""


@pytest.fixture(scope="session")
def measurement(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real measurement where it is, else the simulated one that ships; under another name, as users have it."""
    folder = Path(os.environ.get("MAGNOSCOPE_DATA") or Path(__file__).parents[3] / "shared" / "data")
    real = folder / "pcsmo" / "measured.npy"
    source = real if real.is_file() else shipped_example("pcsmo")
    image = np.load(source)
    path = tmp_path_factory.mktemp("measurement") / "mine.npy"
    np.save(path, image * 2)  # another file than the one that the page begins with, and the same verdict
    return path


@pytest.fixture
def visitor(visit: Callable) -> Iterator:
    found = visit()
    found.see("copy as script")
    found.until("shares", "model.y_range.factors.length > 2")
    yield found
    assert found.errors == []


def test_start_up(server, visit: Callable) -> None:
    visitor = visit()
    visitor.page.locator("input.filepond--browser").first.wait_for(state="attached")
    own = server.cpu_seconds
    print(f"start-up to interactive: {time.monotonic() - server.begun:.1f} s, {own:.1f} CPU-s of the server")
    assert own < 2 * SECONDS_TO_START  # a processor that is shared is up to twice as slow


def test_begins_with_a_verdict_and_fetches_nothing_from_elsewhere(visitor, server) -> None:
    visitor.see("Valid pixels")
    visitor.see("against held-back simulations")
    visitor.shot("begin")
    assert visitor.requests and all(url.startswith((server.address, "data:", "blob:")) for url in visitor.requests)


def test_upload_to_verdict(visitor, server, measurement: Path) -> None:
    visitor.until("shares", "model.title.text.includes('shapley')")  # nothing else is being worked out
    begun, before = time.monotonic(), server.cpu_seconds
    visitor.upload(measurement)
    visitor.see("(uploaded)")  # comes with the verdict; pictures follow
    parts = ("goodenough (K = ", "label set: goodenough", "In distribution: p = ", "best match: chi-square")
    there = {part: visitor.page.get_by_text(part).first.is_visible() for part in parts}
    seconds, own = time.monotonic() - begun, server.cpu_seconds - before
    print(f"upload to verdict: {seconds:.1f} s, {own:.1f} CPU-s of the server")
    assert all(there.values()), there
    assert own < 2 * SECONDS_TO_VERDICT
    visitor.until("shares", "!model.title.text.includes('shapley')")  # those of the file before are gone
    visitor.until("shares", "model.title.text.includes('shapley')")
    visitor.shot("uploaded")


def test_zooming_one_picture_zooms_all(visitor) -> None:
    canvas = visitor.page.locator(".bk-Canvas").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    mouse = visitor.page.mouse
    mouse.move(box["x"] + 120, box["y"] + 90)
    mouse.down()
    mouse.move(box["x"] + 200, box["y"] + 150, steps=5)
    mouse.up()
    visitor.until("data", "model.x_range.start > 0")
    ranges = [
        visitor.model(name, "[model.x_range.start, model.x_range.end, model.y_range.start, model.y_range.end]")
        for name in ("data", "goodenough", "dimer", "residual", "evidence")
    ]
    assert all(one == ranges[0] for one in ranges) and ranges[0][1] < 400
    visitor.shot("zoomed")
    visitor.page.get_by_role("button", name="show all slices").click()
    visitor.until("dimer", "model.x_range.end == 400")


def test_a_bar_leads_to_its_slice(visitor) -> None:
    name = visitor.model("shares", "model.y_range.factors[model.y_range.factors.length - 2]")
    # where that bar is on the screen
    place = visitor.page.evaluate(
        """(name) => { for (const view of Object.values(Bokeh.index.roots ?? Bokeh.index)) {
            const find = (v) => v.model?.name == "shares" ? v : [...(v.children?.() ?? [])].map(find).find(Boolean)
            const found = find(view); if (!found) continue
            found.el.scrollIntoView({block: "center"})
            const frame = found.frame, box = found.el.getBoundingClientRect()
            const x = frame.x_scale.compute(0), y = frame.y_scale.compute(name)
            return [box.x + x, box.y + y] } }""",
        name,
    )
    share = visitor.model("shares", "model.renderers[0].data_source.data.share.at(-2)")
    visitor.page.mouse.click(place[0] + (3 if share > 0 else -3), place[1])
    assert name in visitor.see(f"Slice: {name}").inner_text()
    visitor.shot("slice")


def test_raw_beside_cleaned(visitor) -> None:
    """By the cleaning network that ships; other numbers than the raw ones, on the same pixels, zoomed with the rest."""
    visitor.see("Raw against cleaned").scroll_into_view_if_needed()
    names = ("raw", "cleaned", "spread of the cleaned")
    values = {}
    for name in names:
        visitor.until(name, "model.renderers.some(r => r.data_source.data.value?.length)")
        picked = "[...model.renderers.find(r => r.data_source.data.value).data_source.data.value[0]]"
        values[name] = np.array(visitor.model(name, picked), float)  # without a detector: null, which is NaN here
    known = ~np.isnan(values["raw"])
    assert known.sum() > 10_000
    for name in names[1:]:
        np.testing.assert_array_equal(np.isnan(values[name]), ~known)
    assert not np.allclose(values["raw"][known], values["cleaned"][known])
    assert (values["spread of the cleaned"][known] > 0).all()
    ranges = [visitor.model(name, "[model.x_range.id, model.y_range.id]") for name in ("data", "cleaned")]
    assert ranges[0] == ranges[1]
    visitor.shot("cleaned")


def let_go(visitor, keys: int = 3) -> None:
    """Move the first slider by the keyboard."""
    handle = visitor.page.locator(".noUi-handle").first
    handle.scroll_into_view_if_needed()
    handle.focus()
    for _ in range(keys):
        handle.press("ArrowRight")


def test_a_slider_simulates(visitor) -> None:
    title = "model.title.text"
    before = visitor.model("goodenough", title)
    assert "best match" in before
    let_go(visitor)
    visitor.until("goodenough", f"{title}.includes('your parameters')")
    said = visitor.see("simulated in").inner_text()
    print(said)
    assert "goodenough simulated in" in said and visitor.model("goodenough", title) != before
    assert "match_at" in visitor.page.locator("textarea").input_value()
    visitor.shot("moved")


def test_a_bad_file_gives_the_readers_message(visitor, tmp_path: Path) -> None:
    path = tmp_path / "notes.npy"
    path.write_text("J = 5 meV, I think")
    visitor.upload(path)
    visitor.see("notes.npy is no NumPy array file; save one with numpy.save(path, image)")
    assert visitor.see("against held-back simulations").is_visible()  # what was there still is
    visitor.shot("bad-file")


def test_two_users_at_once(visit: Callable, measurement: Path, tmp_path: Path) -> None:
    first, second = visit(), visit()
    for visitor in (first, second):
        visitor.see("copy as script")
    other = tmp_path / "other.npy"
    np.save(other, np.load(measurement) * 3)
    first.upload(measurement)
    second.upload(other)
    for visitor in (first, second):
        visitor.see("(uploaded)")
    let_go(first, 2)
    let_go(second, 5)
    for visitor in (first, second):
        visitor.until("goodenough", "model.title.text.includes('your parameters')")
    assert first.page.get_by_text("other.npy").count() == 0 and second.page.get_by_text("mine.npy").count() == 0
    scripts = [visitor.page.locator("textarea").input_value() for visitor in (first, second)]
    assert scripts[0] != scripts[1] and first.errors == second.errors == []


def answer(address: str, host: str, path: str = "") -> int:
    request = urllib.request.Request(address + path, headers={"Host": host})
    try:
        with urllib.request.urlopen(request, timeout=60) as found:
            return found.status
    except urllib.error.HTTPError as error:
        return error.code


def test_other_hosts_are_refused(server) -> None:
    port = server.address.rstrip("/").rsplit(":", 1)[1]
    assert answer(server.address, f"127.0.0.1:{port}") == answer(server.address, f"localhost:{port}") == 200
    for host in ("evil.example", f"evil.example:{port}", f"127.0.0.1.evil.example:{port}", "127.0.0.1"):
        assert answer(server.address, host) == 403
        assert answer(server.address, host, "static/js/bokeh.min.js") == 403


def test_web_sockets_of_other_pages_are_refused(server) -> None:
    host, port = "127.0.0.1", int(server.address.rstrip("/").rsplit(":", 1)[1])
    with socket.create_connection((host, port), timeout=60) as line:
        line.sendall(
            f"GET /ws HTTP/1.1\r\nHost: {host}:{port}\r\nOrigin: http://evil.example\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: bokeh, token\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        assert line.recv(64).split(b" ")[1] == b"403"
