"""Downloads of public data, against a server on this machine."""

import hashlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from magnoscope.downloads import IMAGE_AXES, Download, Downloads
from magnoscope.errors import DataError, StudyError
from magnoscope.fetch import cache_folder, fetch, find_measurement, reorient

LAYOUT = (2, 3, 4, 5)
SHAPE = (2 * 4, 3 * 5)
NOWHERE = "0" * 64


class Server(ThreadingHTTPServer):
    """Serves a folder and remembers what was asked for."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(folder)))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/data/"


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        super().do_GET()


@pytest.fixture
def published(tmp_path: Path) -> Path:
    folder = tmp_path / "server" / "data"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def server(published: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("MAGNOSCOPE_DATA", raising=False)
    server = Server(published.parent)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def npy(folder: Path, array: np.ndarray, name: str, role: str, flip: tuple[str, ...] = ()) -> Download:
    path = folder / f"{name}.npy"
    np.save(path, array)
    return Download(name=name, path=path.name, sha256=sha256(path), role=role, flip=flip)


def mat(folder: Path, array: object, name: str, flip: tuple[str, ...] = (), variable: str = "nan_mask") -> Download:
    path = folder / f"{name}.mat"
    savemat(path, {"nan_mask": array})
    return Download(name=name, path=path.name, sha256=sha256(path), role="mask", flip=flip, variable=variable)


def asymmetric_tiles() -> np.ndarray:
    """(runs, slices, x, y): every pixel has a value of its own, so no two orientations look alike."""
    return np.arange(1.0, 1.0 + np.prod(LAYOUT)).reshape(LAYOUT)


def image_of(tiles: np.ndarray) -> np.ndarray:
    """Lay tiles out by slicing, independently of how the package does it."""
    n_runs, n_slices, n_x, n_y = tiles.shape
    image = np.empty((n_runs * n_x, n_slices * n_y))
    for run in range(n_runs):
        for slice_ in range(n_slices):
            image[run * n_x : (run + 1) * n_x, slice_ * n_y : (slice_ + 1) * n_y] = tiles[run, slice_]
    return image


def a_mask() -> np.ndarray:
    """(runs, slices, x, y), True where there is no detector; symmetric along no axis."""
    mask = np.zeros(LAYOUT, dtype=bool)
    mask[0, 0, 0, 1] = mask[0, 2, 3, 4] = mask[1, 1, 2, :2] = True
    return mask


@pytest.fixture
def downloads(published: Path, server: Server) -> Downloads:
    """A measured image, a simulation and a mask, each in another orientation than the study's."""
    tiles = asymmetric_tiles()
    return Downloads(
        base_url=server.url,
        files=(
            npy(published, image_of(tiles[:, :, ::-1, ::-1]), "measured", "measured", ("x", "y")),
            npy(published, image_of(tiles[:, :, ::-1] + 1000.0), "simulated", "simulated", ("x",)),
            mat(published, image_of(a_mask()[::-1]).astype(np.uint8), "masked", ("runs",)),
        ),
        citation="Nobody, Journal of Tests 1, 1 (2021)",
    )


def test_files_come_in_the_layout_of_the_study_with_nan_where_masked(downloads: Downloads, tmp_path: Path) -> None:
    lines: list[str] = []
    paths = fetch("toy", downloads, LAYOUT, tmp_path / "cache", progress=lines.append)

    assert paths == {name: tmp_path / "cache" / f"{name}.npy" for name in ("measured", "simulated", "masked")}
    mask = image_of(a_mask()).astype(bool)
    masked, measured, simulated = (np.load(paths[name]) for name in ("masked", "measured", "simulated"))
    assert masked.dtype == bool and measured.dtype == simulated.dtype == np.float32
    np.testing.assert_array_equal(masked, mask)
    expected = np.where(mask, np.nan, image_of(asymmetric_tiles()))
    np.testing.assert_array_equal(measured, expected)
    np.testing.assert_array_equal(simulated, expected + 1000.0)
    assert any(downloads.url(downloads.files[0]) in line for line in lines)


@pytest.mark.parametrize("axis", range(4))
def test_each_axis_is_reversed_by_its_name(axis: int) -> None:
    tiles = asymmetric_tiles()
    file = Download("image", "image.npy", NOWHERE, "measured", (IMAGE_AXES[axis],))
    turned = reorient(image_of(np.flip(tiles, axis)), file, LAYOUT)
    np.testing.assert_array_equal(turned, image_of(tiles))


def test_axes_of_length_one_are_dropped() -> None:
    image = image_of(asymmetric_tiles())
    file = Download("image", "image.npy", NOWHERE, "simulated")
    np.testing.assert_array_equal(reorient(image[None, :, :, None], file, LAYOUT), image)


def test_nan_in_a_mask_file_means_no_detector(published: Path, server: Server, tmp_path: Path) -> None:
    mask = np.where(image_of(a_mask()), np.nan, 0.0)
    files = (npy(published, mask, "masked", "mask"),)
    paths = fetch("toy", Downloads(server.url, files), LAYOUT, tmp_path / "cache")
    np.testing.assert_array_equal(np.load(paths["masked"]), image_of(a_mask()).astype(bool))


def test_without_mask_file_values_stay(published: Path, server: Server, tmp_path: Path) -> None:
    image = image_of(asymmetric_tiles())
    image[0, 0] = np.nan
    files = (npy(published, image, "measured", "measured"),)
    paths = fetch("toy", Downloads(server.url, files), LAYOUT, tmp_path / "cache")
    np.testing.assert_array_equal(np.load(paths["measured"]), image)


def test_second_call_uses_the_cache(downloads: Downloads, server: Server, tmp_path: Path) -> None:
    first = fetch("toy", downloads, LAYOUT, tmp_path / "cache")
    asked = list(server.asked)
    assert len(asked) == 3
    assert fetch("toy", downloads, LAYOUT, tmp_path / "cache") == first
    assert server.asked == asked
    left = {path.name for path in (tmp_path / "cache").iterdir()}
    assert left == {"original", "measured.npy", "simulated.npy", "masked.npy"}


def test_wrong_sha256_is_refused_and_leaves_nothing(downloads: Downloads, tmp_path: Path) -> None:
    measured, *others = downloads.files
    wrong = Download(measured.name, measured.path, NOWHERE, measured.role, measured.flip)
    with pytest.raises(DataError, match="does not have the sha256") as caught:
        fetch("toy", Downloads(downloads.base_url, (*others, wrong)), LAYOUT, tmp_path / "cache")
    message = str(caught.value)
    assert downloads.url(wrong) in message and str(tmp_path / "cache" / "original" / "measured.npy") in message
    assert not list((tmp_path / "cache").glob("*.npy"))
    assert {path.name for path in (tmp_path / "cache" / "original").iterdir()} == {
        "simulated.npy",
        "masked.mat",
    }


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_without_network_says_what_to_place_where(
    downloads: Downloads, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    unreachable = Downloads(f"http://127.0.0.1:{closed_port()}", downloads.files)
    start = time.monotonic()
    with pytest.raises(DataError, match="no connection to the server") as caught:
        fetch("toy", unreachable, LAYOUT, tmp_path / "cache")
    assert time.monotonic() - start < 10.0
    message = str(caught.value)
    assert "\n" not in message and "MAGNOSCOPE_DATA" in message
    for file, suffix in zip(unreachable.files, ("npy", "npy", "mat"), strict=True):
        place = tmp_path / "cache" / "original" / f"{file.name}.{suffix}"
        assert f"{unreachable.url(file)} as {place}" in message
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert capfd.readouterr() == ("", "")


def test_files_placed_by_hand_need_no_network(downloads: Downloads, published: Path, tmp_path: Path) -> None:
    original = tmp_path / "cache" / "original"
    original.mkdir(parents=True)
    for path in published.iterdir():
        (original / path.name).write_bytes(path.read_bytes())
    unreachable = Downloads(f"http://127.0.0.1:{closed_port()}", downloads.files)
    assert set(fetch("toy", unreachable, LAYOUT, tmp_path / "cache")) == {"measured", "simulated", "masked"}

    (original / "measured.npy").write_bytes(b"damaged")
    with pytest.raises(DataError, match="its sha256 is wrong"):
        fetch("toy", unreachable, LAYOUT, tmp_path / "cache")


def test_missing_on_the_server(server: Server, tmp_path: Path) -> None:
    files = (Download("measured", "gone.npy", NOWHERE, "measured"),)
    with pytest.raises(DataError, match="the server answered 404"):
        fetch("toy", Downloads(server.url, files), LAYOUT, tmp_path / "cache")


def test_wrong_shape_names_both_shapes_and_writes_nothing(downloads: Downloads, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"8 x 15 values where .* 15 x 8 \(3 runs x 2 slices of 5 x 4\)"):
        fetch("toy", downloads, (3, 2, 5, 4), tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.npy"))


def test_pickled_objects_are_refused(published: Path, server: Server, tmp_path: Path) -> None:
    files = (npy(published, np.array([{"a": 1}], dtype=object), "measured", "measured"),)
    with pytest.raises(DataError, match="cannot be read as an array"):
        fetch("toy", Downloads(server.url, files), LAYOUT, tmp_path / "cache")


def test_files_that_are_not_what_they_say_are_refused(published: Path, server: Server, tmp_path: Path) -> None:
    mask = image_of(a_mask())
    no_variable = mat(published, mask, "no_variable", variable="other")
    text = mat(published, "text", "text")
    # A complete header, then too little data.
    npy(published, mask, "short", "measured")
    (published / "short.npy").write_bytes((published / "short.npy").read_bytes()[:-8])
    short = Download("short", "short.npy", sha256(published / "short.npy"), "measured")
    (published / "noise.mat").write_bytes(b"not a MATLAB file " * 20)
    noise = Download("noise", "noise.mat", sha256(published / "noise.mat"), "mask", (), "nan_mask")
    for file, message in (
        (no_variable, "has no variable 'other'"),
        (text, "does not hold an array of real numbers"),
        (short, "cannot be read as an array"),
        (noise, "cannot be read as an array"),
    ):
        with pytest.raises(DataError, match=message) as caught:
            fetch("toy", Downloads(server.url, (file,)), LAYOUT, tmp_path / "cache")
        assert "\n" not in str(caught.value)


def test_folder_that_cannot_be_made(downloads: Downloads, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot make the folder"):
        fetch("toy", downloads, LAYOUT, tmp_path / "file" / "cache")


def test_default_folder_is_the_cache_of_the_user(
    downloads: Downloads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("magnoscope.fetch.pooch.os_cache", lambda project: tmp_path / project)
    assert cache_folder("toy") == tmp_path / "magnoscope" / "toy"
    assert find_measurement("toy", downloads) is None
    paths = fetch("toy", downloads, LAYOUT)
    assert paths["measured"] == tmp_path / "magnoscope" / "toy" / "measured.npy"
    assert find_measurement("toy", downloads) == paths["measured"]


def test_measurement_is_looked_for_in_order(
    downloads: Downloads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, data = tmp_path / "cache", tmp_path / "data"
    monkeypatch.setenv("MAGNOSCOPE_DATA", os.fspath(data))
    assert find_measurement("toy", None, cache) is None
    for place in (cache, data, data / "toy"):
        place.mkdir()
        (place / "measured.npy").touch()
        assert find_measurement("toy", downloads, cache) == place / "measured.npy"
    monkeypatch.delenv("MAGNOSCOPE_DATA")
    assert find_measurement("toy", downloads, cache) == cache / "measured.npy"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "../escape"}, "name must consist of"),
        ({"role": "background"}, "must be one of measured, mask, simulated"),
        ({"flip": ("h",)}, "must name each axis at most once out of runs, slices, x, y"),
        ({"flip": ("x", "x")}, "at most once"),
        ({"sha256": "abc"}, "64 hexadecimal digits"),
        ({"path": "image.pkl"}, "must end in .npy or .mat"),
        ({"path": "mask.mat"}, "variable must be given"),
        ({"variable": "a"}, "variable must be given"),
    ],
)
def test_download_says_what_is_wrong(change: dict[str, object], message: str) -> None:
    right = {"name": "measured", "path": "a/image.npy", "sha256": NOWHERE, "role": "measured"}
    Download(**right)
    with pytest.raises(StudyError, match=message):
        Download(**(right | change))


def test_downloads_say_what_is_wrong() -> None:
    file = Download("measured", "image.npy", NOWHERE, "measured")
    with pytest.raises(StudyError, match="base_url must start with"):
        Downloads("file:///etc/", (file,))
    with pytest.raises(StudyError, match="'measured' is given twice"):
        Downloads("https://example.org", (file, file))
