"""Everything that works on maps works on a path, with no code that knows the material."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from magnoscope.dataset.coverage import CoverageLaw, detector_angles, random_coverage
from magnoscope.dataset.noise import MEASUREMENT_LIKE, degrade
from magnoscope.io.images import read_spectrum
from magnoscope.plot import plot_spectrum
from magnoscope.studies import load_study, parse_study, study_text
from magnoscope.trust.match import match

from .conftest import Run, command

SMALL = (
    ("step = 0.022", "points = [7, 5, 8]"),
    ("bins = 40", "bins = 20"),
    ("width = 5 }", "width = 1 }"),
)
"""The study of CrI3 with so few pixels that an image takes a tenth of a second."""


@pytest.fixture(scope="module")
def small_file(tmp_path_factory) -> Path:
    text = study_text("cri3")[0]
    for old, new in (*SMALL, ('name = "cri3"', 'name = "small"')):
        assert text.count(old) == 1
        text = text.replace(old, new)
    path = tmp_path_factory.mktemp("path") / "small.toml"
    path.write_text(text, "utf-8")
    return path


@pytest.fixture(scope="module")
def small(small_file):
    return load_study(small_file)


def test_simulated_path_is_written_and_read(run: Run, small_file, small, tmp_path: Path) -> None:
    bare, full = tmp_path / "a.npy", tmp_path / "a.h5"
    for output in (bare, full):
        run("simulate", small_file, "dm", "--set", "A=0.2", "-o", output, "--json").json  # noqa: B018
    image = np.load(bare)
    assert image.shape == (20, 20) == small.image_shape
    one, two = read_spectrum(bare, small), read_spectrum(full, small)
    np.testing.assert_allclose(one.signal, two.signal, rtol=1e-6)
    # rows are points of the path, columns energies: at M the lower band lies between 7.9 and 9.7 meV
    energies = (small.energy_edges[0, 1:] + small.energy_edges[0, :-1]) / 2
    assert 7.9 < energies[image[7].argmax()] < 9.7
    with h5py.File(full) as file:
        np.testing.assert_allclose(np.stack([file[n] for n in "hkl"], 1), small.view.centres)
        np.testing.assert_allclose(file["distance"], small.view.distances)
        assert file["psi"].shape == small.shape
        assert np.all(np.abs(np.diff(file["psi"][0, 10, :7, 0])) < 20)


@pytest.mark.parametrize("shape", [(20, 19), (19, 20), (40, 20)])
def test_image_of_another_shape_is_refused(refuse, small_file, tmp_path: Path, shape) -> None:
    np.save(tmp_path / "a.npy", np.ones(shape))
    said = refuse("classify", tmp_path / "a.npy", "--study", small_file, "--weights", tmp_path / "w.safetensors")
    assert "needs 20 x 20 (the points of the path for each run in turn as rows, the energy bins as columns)" in said


def test_study_is_described(run: Run, small_file) -> None:
    assert "1 runs of 20 energy bins at 20 points of a path" in run("studies", "check", small_file).out


def test_resolution_on_the_path(run: Run, refuse, small_file) -> None:
    options = ("resolution", small_file, "--ei", 35, "--energy", 10)
    found = run(*options, "--q", "1.25,1,0", "--json").json
    assert (found["axes"], found["units"]) == (["along the path", "energy"], ["1/Å", "meV"])
    covariance = np.array(found["covariance"])
    assert covariance.shape == (2, 2)
    assert np.linalg.eigvalsh(covariance).min() > 0
    assert "beside the path" in refuse(*options, "--q", "1.2,1.2,1")
    assert "give h,k,l" in refuse(*options, "--q", "1,1")


def test_figure_names_the_points(small) -> None:
    rng = np.random.default_rng(0)
    image = rng.gamma(2.0, size=small.image_shape)
    tiles = image.reshape(1, 20, 20, 1).transpose(0, 2, 1, 3)
    spectrum = read_spectrum_of(small, tiles)
    axes = plot_spectrum(spectrum).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["Γ", "M", "K", "Γ"]
    assert axes.get_ylabel() == "energy transfer (meV)"
    assert axes.get_ylim() == (2.0, 22.0)
    # energy rises, the path runs to the right
    np.testing.assert_allclose(axes.images[0].get_array(), tiles[0, :, :, 0])


def read_spectrum_of(study, tiles):
    from magnoscope.spectrum import Spectrum

    return Spectrum(study, tiles, np.isfinite(tiles))


def test_a_path_is_never_mirrored_and_is_matched_as_a_whole(small) -> None:
    torch = pytest.importorskip("torch")
    assert small.view.mirrors == ()
    signal = torch.arange(1.0, 21).reshape(1, 1, 1, 20, 1).expand(64, 1, 20, 20, 1).contiguous()
    seen, _ = degrade(signal, None, MEASUREMENT_LIKE, torch.Generator().manual_seed(0), small.view.mirrors)
    profile = seen.mean((0, 1, 2, 4))
    assert profile[:5].mean() < 0.7 * profile[-5:].mean()
    tiles = np.random.default_rng(1).gamma(2.0, size=small.shape)
    found = match(read_spectrum_of(small, tiles), 3.0 * tiles + 1)
    assert found.per_tile.shape == (1, 1)
    assert found.fitted.shape == small.shape
    np.testing.assert_allclose(found.fitted, tiles, atol=0.2)


def test_scattering_angles_are_those_of_the_path(small) -> None:
    angles = detector_angles(small)
    assert angles.shape == (2, *small.shape)
    assert np.isfinite(angles).all()
    assert np.abs(angles[0]).min() > 5
    np.testing.assert_allclose(angles[1], 0, atol=1e-4)  # l = 0 lies in the horizontal plane


def test_most_of_a_path_is_seen_whatever_is_missing(small) -> None:
    """As of maps: four pixels in five on average, and never next to nothing."""
    coverages = random_coverage(small, 200, 0)
    share = coverages.float().flatten(1).mean(1).numpy()
    assert 0.7 < share.mean() < 0.9 and np.quantile(share, 0.05) > 0.4 and (share == 1).any()
    assert np.array_equal(coverages, random_coverage(small, 200, 0))
    angles, bank = detector_angles(small)[0], CoverageLaw(stop=(0, 0), gaps=0, bank=1.0, complete=0.0)
    for seen in random_coverage(small, 40, 1, bank).numpy():
        if not seen.all():  # what a missing bank hides lies between two angles, and all of it is hidden
            hidden = angles[~seen]
            assert not ((angles[seen] > hidden.min()) & (angles[seen] < hidden.max())).any()


MISTAKES = {
    "neither step nor points": ("points = [7, 5, 8]", "", "either `step`"),
    "wrong number of segments": ("points = [7, 5, 8]", "points = [7, 5]", "`points` has 2 numbers; the path has 3"),
    "a path of one point": ('label = "M" }', 'label = "M", begins = true }', "each path needs two waypoints"),
    "the same point twice": ("{ q = [1.5, 1, 0]", "{ q = [1, 1, 0]", "view.waypoints.2.q: is the same point"),
    "along the normal": ("{ q = [1.5, 1, 0]", "{ q = [1, 1, 2]", "view.waypoints.2.q: makes the path run along"),
    "out of reach": ("{ q = [1.5, 1, 0]", "{ q = [15, 1, 0]", "out of reach even with Ei = 35 meV"),
    "energies beyond Ei": ("to = 22", "to = 40", "view.energies.to: must be at most 0.97 of the largest Ei"),
    "energies upside down": ("from = 2, to = 22", "from = 22, to = 2", "`from` must be below `to`"),
    "too many points": ("points = [7, 5, 8]", "points = [2000, 5, 8]", "the path has 2013 points"),
    "a box of many zones": ("width = 1 }", "width = 900 }", "view.normal.width: spans 900 magnetic zones"),
    "key of maps": ("across = 0.12", "across = 0.12\nhidden = 1", "view.hidden: unknown key"),
    "detectors upside down": ("[-30, 60]", "[60, -30]", "each range of angles must rise"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_named(small_file, case) -> None:
    old, new, said = MISTAKES[case]
    text = small_file.read_text("utf-8")
    assert old in text
    with pytest.raises(Exception, match=".*") as caught:
        parse_study(text.replace(old, new), "my.toml")
    assert type(caught.value).__name__ == "StudyError"
    assert said in str(caught.value)
    assert str(caught.value).startswith("my.toml, line ")


@pytest.mark.slow
def test_from_study_to_verdict(run: Run, small_file, small, tmp_path: Path) -> None:
    store, weights, image, figure = (tmp_path / n for n in ("set.zarr", "w.safetensors", "i.npy", "f.png"))
    done = command("dataset", "build", small_file, "-n", 24, "-o", store, "--workers", 1, "--json")
    assert done.returncode == 0, done.stderr
    options = ["--epochs", 3, "--width", 16, "--study", small_file, "--json"]
    done = command("train", "compact", store, "-o", weights, *options)
    assert done.returncode == 0, done.stderr
    trusted = run("trust", weights, store, "--study", small_file, "--json").json
    # held back of 24 a class: what 17 for training, 2 to stop it and 2 for calibration leave
    assert trusted["clean"]["n"] == 2 * 3
    assert "runs in reverse order" not in trusted["foreign"]
    assert "last axis stretched twofold" in trusted["foreign"]
    run("simulate", small_file, "kitaev", "--noise", 20, "-o", image, "--json").json  # noqa: B018
    found = run("classify", image, "--study", small_file, "--weights", weights, "-o", figure, "--json").json
    assert found["scores"].keys() == {"dm", "kitaev"}
    assert found["matches"]["kitaev"]["chi_square"] < found["matches"]["dm"]["chi_square"]
    assert figure.stat().st_size > 10_000


@pytest.mark.parametrize("model", ["dm", "kitaev"])
def test_the_second_study_is_classified_out_of_the_box(run: Run, model: str, tmp_path: Path) -> None:
    """With the weights that ship, on a simulation that has noise, a background and gaps, at the published couplings."""
    image = tmp_path / "image.h5"
    run("simulate", "cri3", model, "--degrade", "all", "--seed", 11, "-o", image, "--json").json  # noqa: B018
    found = run("classify", image, "--study", "cri3", "--json").json
    assert found["label"] == found["nearest"] == model and found["in_distribution"] and found["warning"] is None
    assert found["scores"][model] >= 0.8 and found["probabilities"][model] >= 0.9
    (other,) = found["scores"].keys() - {model}
    assert found["scores"][other] <= 0.3
