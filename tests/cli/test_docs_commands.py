"""Every command that the documentation prints is run, page by page, in the order of the page, each page in a folder.

The studies that ship are exchanged for small ones of the same names, with the models that the pages name; workers of
a build are threads; a fit takes a step or two on the instrument as stated; what is fetched lies on a server of this
machine; the page is served until it has answered. What stands in for numbers that cost hours, and for placeholders,
is in `documentation.py`. Each command must end well and write what it names. Not run are `NOT_RUN`, and `MENTIONED`:
names of commands in a sentence, whose options must exist.
"""

import glob
import hashlib
import importlib.resources
import os
import re
import shutil
import sys
import threading
import urllib.request
import webbrowser
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from magnoscope.cleaning import Cleaner, save_cleaner
from magnoscope.dataset import cluster
from magnoscope.io.images import write_spectrum
from magnoscope.networks.kinds import new_network, untrained
from magnoscope.simulate import Simulator
from magnoscope.spectrum import counted
from magnoscope.studies import load_study, study_text
from magnoscope.study import Study
from magnoscope.trust import emulator
from magnoscope.trust.calibration import Calibration
from magnoscope.trust.weights import Weights, save_weights

from .conftest import Run
from .documentation import PAGES, ROOT, command_of, filled, is_mention, options_of, printed, shortened
from .test_path import SMALL

NOT_RUN = {
    "magnoscope reduce all.sqw --study pcsmo -o image.h5": "Horace alone writes .sqw files: test_facility_files.py",
}
"""Commands that are not run, and where the same is done."""
MENTIONED = {
    "magnoscope bonds", "magnoscope calibrate", "magnoscope classify", "magnoscope classify --study cri3",
    "magnoscope clean", "magnoscope compare", "magnoscope cut", "magnoscope explain --check", "magnoscope fit",
    "magnoscope plan", "magnoscope reproduce", "magnoscope simulate", "magnoscope spinwaves",
    "magnoscope structure --minimise", "magnoscope studies show",
    "magnoscope train posterior", "magnoscope trust", "magnoscope trust --suite",
}  # fmt: skip
"""What sentences name without what it works on."""
REFUSED = {"magnoscope bonds forbidden.toml", "magnoscope spinwaves kagome.toml dm --set Dz=0.196 --q 0.1,0,0"}
"""Commands that the pages print with the message they end in."""
DEAR = ("compare", "explain", "fit", "plan", "report")
"""Commands that take seconds, and make nothing that another needs: with the same options they are run on one page."""
WRITTEN = ("-o", "--figure", "--best-fit", "--background-output")
"""Options that name a file or folder to write."""

RUN: set[tuple[str, ...]] = set()
"""Names and options of what was run of these."""

COMMANDS = {page.relative_to(ROOT): list(dict.fromkeys(printed(page))) for page in PAGES}


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as found:
        yield found


# ---- small studies in the place of those that ship -----------------------------------------------------------------


def small_pcsmo(text: str, address: str, measured: Path) -> str:
    """The tiny study of the other tests under the name, and with the models, parameters and runs, of the pages."""
    runs = "".join(
        f"[[runs]]\nei = {ei}\nfrequency = {hz}\nenergy_bin = {ei / 200}\n"
        for ei, hz in ((25, 300), (35, 200), (50, 200), (70, 250))
    )
    digest = hashlib.sha256(measured.read_bytes()).hexdigest()
    for old, new in (
        ('name = "square"', 'name = "pcsmo"\nworked_case = true'),
        ("models.near", "models.goodenough"),
        ("models.far", "models.dimer"),
        ("J = { reference = -4.0, prior = [-5, -3] }", "JF1 = { reference = -4.0, prior = [-12, -3] }"),
        ("D = { reference = -0.1, prior = [-0.2, -0.05] }", "D = { reference = -0.1, prior = [-0.2, 0] }"),
        ('exchange = "J"', 'exchange = "JF1"'),
        ("J1 = { reference = -2.0, prior = [-3, -1] }", "J1 = { reference = -2.0, prior = [-5, -1] }"),
        ("prior = [-2, -1] }", "prior = [-2, 0] }"),
        ("[[runs]]\nei = 50\nfrequency = 200\nenergy_bin = 0.25\n", runs),
        ("from = 0.1, to = 0.7, slices = 2", "from = 0.1, to = 0.6, slices = 3"),
    ):
        assert old in text
        text = text.replace(old, new)
    return text + (
        "\n[intensity]\nformula_units = 2\n"
        '\n[[overlaps]]\ngoodenough = { JF1 = "j", D = 0 }\ndimer = { J1 = "j", J2 = 0 }\n'
        f'\n[downloads]\nbase_url = "{address}"\ncitation = "nobody"\n'
        f'[[downloads.files]]\nname = "measured"\nrole = "measured"\npath = "{measured.name}"\nsha256 = "{digest}"\n'
    )


def small_cri3() -> str:
    """As that of test_path.py, under its own name."""
    text = study_text("cri3")[0]
    for old, new in SMALL:
        text = text.replace(old, new)
    return text


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def shelf(striped_file: Path, tmp_path_factory: pytest.TempPathFactory, patch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Small studies, weights that have learned nothing and an example, where the package looks for those that ship."""
    folder, real = tmp_path_factory.mktemp("shelf"), importlib.resources.files
    for name in ("studies", "weights", "public"):
        (folder / name).mkdir()
    shutil.copytree(ROOT / "src" / "magnoscope" / "studies" / "published", folder / "studies" / "published")
    measured = folder / "public" / "measured.npy"
    np.save(measured, np.random.default_rng(1).gamma(2.0, size=(48, 36)))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(measured.parent)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    tiny, address = striped_file.read_text("utf-8"), f"http://127.0.0.1:{server.server_port}/"
    texts = {"pcsmo": small_pcsmo(tiny, address, measured), "cri3": small_cri3()}
    for name, text in texts.items():
        (folder / "studies" / f"{name}.toml").write_text(text, "utf-8")
    where = {"magnoscope": folder, "magnoscope.studies": folder / "studies"}
    patch.setattr(importlib.resources, "files", lambda package: where.get(package) or real(package))
    patch.setattr(cluster, "LocalCluster", partial(cluster.LocalCluster, processes=False))
    fits = sys.modules["magnoscope.estimate.fit"]
    for name, few in {"ROUNDS": ((1, 1),), "LAST": 1, "STEPS": 1, "LONG": 1}.items():
        patch.setattr(fits, name, few)
    for module in (sys.modules["magnoscope.cli.estimate"], sys.modules["magnoscope.cli.report"]):
        patch.setattr(module, "fits_of", partial(as_stated, module.fits_of))
    patch.setenv("no_proxy", "127.0.0.1")
    patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    patch.delenv("MAGNOSCOPE_DATA", raising=False)
    for name in texts:
        ignorant(load_study(name), folder / "weights")
    study = load_study("pcsmo")
    np.save(folder / "studies" / "pcsmo-example.npy", example(study).image)
    yield folder
    server.shutdown()
    thread.join()
    server.server_close()


def as_stated(fits_of: Callable, spectrum: Any, models: list[str], options: Any) -> Any:
    """Fits that take the instrument as stated: its errors are most of the work."""
    return fits_of(spectrum, models, replace(options, as_stated=True, samples=min(options.samples, 4), workers=1))


def example(study: Study) -> Any:
    """Counts of the first candidate."""
    return counted(Simulator(study)(study.classes[0], {"JF1": -5.0}), 30, 1)


def ignorant(study: Study, folder: Path) -> None:
    """Weights of networks that have learned nothing, of either kind."""
    card = {"width": 16, "seed": 3, "study": study.name, "classes": list(study.classes)}
    card |= {"layout_hash": study.layout_hash, "physics_hash": study.physics_hash}
    network = new_network(study, "compact", 3, 16).eval()
    n, classes = network.n_features, len(study.classes)
    calibration = Calibration(2.0, 0.1, 0.9, np.zeros((classes, n)), np.eye(n), np.ones((20, 2)))
    save_weights(Weights(network, calibration, card | {"kind": "compact"}), folder / f"{study.name}.safetensors")
    cleaner = Cleaner(untrained(study, "cleaner", 3, 16).eval(), card | {"kind": "cleaner"})  # type: ignore[arg-type]
    save_cleaner(cleaner, folder / f"{study.name}-cleaner.safetensors")


# ---- what pages take for granted -----------------------------------------------------------------------------------


@pytest.fixture
def stock(run: Run, shelf: Path) -> dict[str, Path]:
    """Files by the names that pages give them; made once."""
    folder = shelf / "stock"
    made = (folder / "old.zarr").exists()
    measured, mask, tabled, runs = (folder / n for n in ("measured.npy", "mask.npy", "image.h5", "runs"))
    training_set, shared, foreign, old = (folder / f"{n}.zarr" for n in ("set", "shared", "foreign", "old"))
    weights, posterior = folder / "w.safetensors", folder / "posterior.safetensors"
    cleaner = shelf / "weights" / "pcsmo-cleaner.safetensors"
    if not made:
        folder.mkdir(exist_ok=True)
        study = load_study("pcsmo")
        np.save(measured, example(study).image)
        np.save(mask, np.arange(48 * 36).reshape(48, 36) % 11 == 0)
        write_spectrum(example(study), tabled)
        build = ("dataset", "build", "pcsmo", "-n", 12, "--workers", 1)
        for words in (
            ("virtual", "pcsmo", "goodenough", "-o", runs, "--detectors", 400),
            (*build, "-o", training_set),
            (*build, "-o", shared, "--draws", "overlap"),
            (*build, "-o", foreign, "--draws", "foreign"),
            ("train", "compact", training_set, "-o", weights, "--epochs", 1),
            ("train", "posterior", training_set, "-o", posterior, "--epochs", 1),
        ):
            outcome = run(*words)
            assert outcome.status == 0, (words, outcome.err)
        shutil.copy(weights, shelf / "weights" / "pcsmo.safetensors")  # their card has scores
        aged(shutil.copytree(training_set, old))
    return {
        **dict.fromkeys(("measured.npy", "image.npy"), measured),
        **dict.fromkeys(("SET", "DATASET", "SET.zarr", "set.zarr", "pcsmo-mc.zarr"), training_set),
        **dict.fromkeys(("W", "STUDY.safetensors", "pcsmo.safetensors"), weights),
        **dict.fromkeys(("a.safetensors", "b.safetensors", "c.safetensors", "D-0.safetensors"), weights),
        **dict.fromkeys(("FOREIGN.zarr", "pcsmo-foreign.zarr", "pcsmo-magnets.zarr"), foreign),
        "mine.toml": shelf / "studies" / "pcsmo.toml", "M.npy": mask, "image.h5": tabled, "runs": runs,
        "pcsmo-shared.zarr": shared, "old.zarr": old, "C": cleaner, "posterior.safetensors": posterior,
    }  # fmt: skip


def aged(path: Path) -> None:
    """Bring a set into the state in which an older version left it."""
    root = zarr.open_group(str(path), mode="r+")
    for name in root.attrs["classes"]:  # type: ignore[union-attr]
        for array in ("seeds", "checksums"):
            del root[f"{name}/{array}"]
    for key in ("format", "study_text", "draws", "precision", "rounding"):
        del root.attrs[key]


@pytest.fixture
def desk(stock: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a reader works in."""
    for name, path in stock.items():
        (shutil.copytree if path.is_dir() else shutil.copy)(path, tmp_path / name)
    shutil.copytree(ROOT / "docs" / "examples", tmp_path, dirs_exist_ok=True)
    kagome = (tmp_path / "kagome.toml").read_text("utf-8")
    (tmp_path / "forbidden.toml").write_text(kagome.replace('dm = [0, 0, "Dz"]', 'dm = ["Dz", 0, 0]'), "utf-8")
    (tmp_path / "docs" / "figures").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def scheduler() -> Iterator[Callable[[], str]]:
    """Address of a Dask scheduler that runs, started where it is asked for."""
    running: list[Any] = []

    def call() -> str:
        running.append(cluster.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0"))
        return running[-1].scheduler_address

    yield call
    for found in running:
        found.close()


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How the page answered, each time it was served."""
    statuses: list[int] = []
    serving = pytest.importorskip("magnoscope.app.serve")

    def serve(server: Any, service: Any, ready: Callable[[], None]) -> None:
        def look() -> None:
            for name in sorted(server._tornado._websocket_origins):
                request = urllib.request.Request(f"http://127.0.0.1:{server.port}/", headers={"Host": name})
                with urllib.request.urlopen(request, timeout=60) as found:
                    statuses.append(found.status)
            server.io_loop.add_callback(server.io_loop.stop)

        server.start()
        ready()
        visitor = threading.Thread(target=look)
        visitor.start()
        server.io_loop.start()
        visitor.join()
        server.stop()
        service.pool.shutdown(wait=True, cancel_futures=True)

    monkeypatch.setattr(serving, "serve", serve)
    monkeypatch.setattr(webbrowser, "open", lambda address: True)
    monkeypatch.setattr(os, "_exit", sys.exit)
    return statuses


# ---- the tests -----------------------------------------------------------------------------------------------------


def opened(words: list[str]) -> list[str]:
    """Patterns as a shell would put them."""
    return [name for word in words for name in (sorted(glob.glob(word)) if "*" in word else [word])]


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page, lines in COMMANDS.items() if lines], ids=str)
def test_commands_of_a_page(page: Path, run: Run, desk: Path, scheduler: Callable, answered: list[int]) -> None:
    for line in COMMANDS[page]:
        words = filled(line)
        called = (words[0], *sorted(word for word in words if word.startswith("-")))
        if line in NOT_RUN or line in MENTIONED or called in RUN:
            continue
        if words[0] in DEAR:
            RUN.add(called)
        words = opened(shortened(words))
        if "--scheduler" in words:
            words[words.index("--scheduler") + 1] = scheduler()
        outputs = [Path(word) for before, word in zip(words, words[1:], strict=False) if before in WRITTEN]
        for path in outputs:
            remove(path)
        before = len(answered)
        with pytest.MonkeyPatch.context() as few:
            if "--beyond" in words:  # the sets of the pages are too small for an emulator
                few.setattr(emulator, "FEWEST_IMAGES", 5)
                few.setattr(emulator, "EPOCHS", 2)
            outcome = run(*words)
        assert outcome.status == (2 if line in REFUSED else 0), (line, words, outcome.err)
        assert all(path.exists() for path in outputs), (line, outputs)
        if words[0] == "app":
            assert len(answered) >= before + 2 and set(answered) == {200}, line


def test_commands_that_are_not_run() -> None:
    every = {line for lines in COMMANDS.values() for line in lines}
    assert NOT_RUN.keys() | REFUSED <= every
    assert {line for line in every if line not in NOT_RUN and is_mention(filled(line))} == MENTIONED
    for line in NOT_RUN.keys() | MENTIONED:
        named = set(re.findall(r"(?<![\w-])(--?[a-z][\w-]*)", line))
        assert named <= options_of(command_of(filled(line))[0]), line


def test_all_pages_are_looked_at() -> None:
    assert sum(map(len, COMMANDS.values())) > 110 and sum(map(bool, COMMANDS.values())) >= 15
