"""Studies, spin waves, resolution and simulation through the command line."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from magnoscope.io.images import read_spectrum
from magnoscope.studies import shipped
from magnoscope.study import Study

Refuse = Callable[..., str]

# ---- the command itself --------------------------------------------------------------------------------------------


def test_without_a_command_the_help_is_printed(run) -> None:
    for words in ([], ["dataset"], ["--help"], ["spinwaves", "--help"], ["dataset", "build", "--help"]):
        outcome = run(*words)
        assert (outcome.status, outcome.err) == (0, "")
        assert outcome.out.startswith("Usage: magnoscope")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["nonsense"], "No such command 'nonsense'; see magnoscope --help"),
        (["dataset", "nonsense"], "No such command 'nonsense'; see magnoscope dataset --help"),
        (["studies", "nonsense"], "No such command 'nonsense'"),
        (["studies", "--json", "nonsense"], "No such command 'nonsense'"),
        (["studies", "show"], "Missing argument 'STUDY'"),
        (["spinwaves"], "Missing argument 'STUDY'; see magnoscope spinwaves --help"),
        (["spinwaves", "pcsmo", "goodenough"], "Missing option '--q'"),
        (["simulate", "--nonsense"], "No such option: --nonsense"),
        (["classify", "--json"], "Missing argument 'IMAGE'"),
        (["--json"], "No such option: --json"),
        (["studies", "show", "pcsmo", "more"], "more"),
        (["dataset", "build", "pcsmo", "-n", "0", "-o", "x.zarr"], "'-n' / '--per-class'"),
        (["dataset", "build", "pcsmo", "-n", "ten", "-o", "x.zarr", "--json"], "valid integer"),
        (["dataset", "build", "pcsmo", "-n", "1000000000000", "-o", "x.zarr"], "less than or equal to"),
        (["dataset", "build", "pcsmo", "-n", "1", "-o", "x.zarr", "--workers", "0"], "--workers"),
        (["resolution", "pcsmo", "--ei", "much", "--q", "0,0", "--energy", "1"], "'--ei'"),
        (["simulate", "pcsmo", "dimer", "-o", "x.npy", "--resolution", "sharp"], "'gaussian', 'montecarlo', 'none'"),
        (["simulate", "pcsmo", "dimer", "-o", "x.npy", "--seed", "-1"], "'--seed'"),
        (["studies", "check", "nothing"], "there is no study nothing; the package has "),
        (["studies", "check", ""], "there is no study"),
        (["studies", "check", "nothing.toml", "--json"], "there is no study file nothing.toml"),
        (["studies", "check", "x" * 300 + ".toml"], "File name too long"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else None,
)
def test_words_that_are_no_command(refuse: Refuse, words: list[str], expected: str) -> None:
    assert expected in refuse(*words)


def test_real_process(real_command, square_file: Path, tmp_path: Path) -> None:
    listed = real_command("studies")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert listed.stdout.startswith(shipped()[0])
    wrong = real_command("simulate", square_file, "near", "--set", "J=1", "-o", tmp_path / "x.npy", "--json")
    assert (wrong.returncode, wrong.stdout, wrong.stderr.count("\n")) == (2, "", 1)
    assert wrong.stderr.startswith('{"error": "the magnetic structure')
    assert list(tmp_path.iterdir()) == []


def test_reader_that_goes_away(square_file: Path, real_command) -> None:
    name = real_command.__globals__["sys"].executable
    line = f"{Path(name).with_name('magnoscope')} studies show {square_file} | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, timeout=60)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


# ---- studies -------------------------------------------------------------------------------------------------------


def test_studies(run) -> None:
    listed = run("studies", "--json").json
    assert [entry["name"] for entry in listed] == shipped()
    assert all(entry.keys() == {"name", "title", "models"} and len(entry["models"]) > 1 for entry in listed)
    text = run("studies")
    assert all(name in text.out for name in shipped())


def test_show(run, square: Study, square_file: Path) -> None:
    assert run("studies", "show", square_file).out == square_file.read_text("utf-8")
    shown = run("studies", "show", square_file, "--json").json
    assert shown["models"]["near"]["J"] == {"reference": -4.0, "prior": [-5.0, -3.0]}
    assert shown["tiles"] == [1, 2, 12, 12]
    assert shown["image"] == [12, 24]
    assert shown["runs"] == [{"ei_meV": 50.0, "frequency_Hz": 200.0, "psi_degrees": 0.0}]
    assert (shown["layout_hash"], shown["physics_hash"]) == (square.layout_hash, square.physics_hash)


def test_check(run, refuse: Refuse, square_file: Path, variant) -> None:
    found = run("studies", "check", square_file, "--json").json
    assert found == {
        "ok": True,
        "name": "square",
        "models": {"near": {"sites": 1, "bonds": 2}, "far": {"sites": 1, "bonds": 4}},
        "tiles": [1, 2, 12, 12],
    }
    assert "is right: near (1 sites, 2 bonds), far" in run("studies", "check", square_file).out
    wrong = variant(("spin = 1.0", "spin = 1.0\nspine = 2"))
    line = wrong.read_text("utf-8").splitlines().index("spine = 2") + 1
    for words in (["studies", "check"], ["studies", "show", "--json"]):
        assert refuse(*words, wrong) == f"{wrong}, line {line}: sites.1.spine: unknown key"
    assert run("studies", "show", wrong).out == wrong.read_text("utf-8")


def test_check_refuses_what_would_fill_the_memory(refuse: Refuse, variant) -> None:
    assert "view.axes.1.points" in refuse("studies", "check", variant(("points = 12", "points = 1000000")))


# ---- spin waves ----------------------------------------------------------------------------------------------------


def test_spinwaves_of_a_ferromagnet(run, square_file: Path) -> None:
    """E = 2 S |J| (2 - cos 2 pi h - cos 2 pi k) + 2 S |D|, S_perp = S/2 (1 + cos^2) of Q to the moment."""
    words = ["spinwaves", square_file, "near", "--q", "0.5,0,0", "--q", "0.3,0.2,0", "--no-twins", "--json"]
    found = run(*words, "--no-form-factor").json
    assert found["q"] == [[0.5, 0.0, 0.0], [0.3, 0.2, 0.0]]
    expected = [8 * (2 - np.cos(2 * np.pi * h) - np.cos(2 * np.pi * k)) + 0.2 for h, k in ((0.5, 0), (0.3, 0.2))]
    np.testing.assert_allclose(np.ravel(found["energies_meV"]), expected, atol=1e-6)
    np.testing.assert_allclose(np.ravel(found["intensities"]), 0.5, atol=1e-6)
    with_factor = np.array(run(*words).json["intensities"])
    assert np.all(with_factor < np.array(found["intensities"]))


def test_set_changes_parameters(run, square_file: Path) -> None:
    words = ["spinwaves", square_file, "near", "--q=-0.5,0,0", "--no-twins", "--json"]
    before = run(*words).json["energies_meV"][0][0]
    after = run(*words, "--set", "J=-2", "--set", " D = -0.2").json["energies_meV"][0][0]
    assert before == pytest.approx(16.2, abs=1e-6)
    assert after == pytest.approx(8.4, abs=1e-6)


def test_twins_follow_with_their_fractions(run) -> None:
    words = ["spinwaves", "pcsmo", "goodenough", "--q", "0.3,0.1,0.4", "--q", "0.5,0.5,0", "--json"]
    with_twins, without = run(*words).json, run(*words, "--no-twins").json
    other = run("spinwaves", "pcsmo", "goodenough", "--q", "0.1,0.3,0.4", "--no-twins", "--json").json
    energies, intensities = np.array(with_twins["energies_meV"]), np.array(with_twins["intensities"])
    n = np.shape(without["energies_meV"])[1]
    assert energies.shape == (2, 2 * n)
    np.testing.assert_allclose(energies[:, :n], without["energies_meV"], atol=1e-9)
    np.testing.assert_allclose(intensities[:, :n], 0.5 * np.array(without["intensities"]), atol=1e-9)
    np.testing.assert_allclose(energies[0, n:], other["energies_meV"][0], atol=1e-9)
    total = [0.5 * np.sum(other["intensities"]), np.sum(intensities[0, n:])]
    assert total[0] == pytest.approx(total[1], rel=1e-9)
    for part in (energies[:, :n], energies[:, n:]):
        assert np.all(np.diff(part, axis=1) <= 1e-9)


def test_spinwaves_as_text(run, square_file: Path) -> None:
    lines = run("spinwaves", square_file, "near", "--q", "0.5,0,0").out.splitlines()
    assert lines[0].startswith("q = (0.5, 0, 0)")
    assert [len(line.split()) for line in lines[1:]] == [2, 2]


@pytest.mark.parametrize("q", ["1,2", "1,2,3,4", "a,b,c", "", "nan,0,0", "inf,0,0", "1e400,0,0", "1;2;3", "1e300,0,0"])
def test_q_that_is_none(refuse: Refuse, square_file: Path, q: str) -> None:
    assert f'--q "{q}" is ' in refuse("spinwaves", square_file, "near", "--q", q, "--json")


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("J", "give NAME=VALUE"),
        ("J=", "give NAME=VALUE"),
        ("J=two", "give NAME=VALUE"),
        ("=2", "give NAME=VALUE"),
        ("J=-2=3", "give NAME=VALUE"),
        ("J=nan", "must be a finite number in meV"),
        ("J=inf", "must be a finite number in meV"),
        ("J=-1e300", "must lie within"),
        ("K=1", "model near has no parameter K; it has J, D"),
        ("J=1", "is not an energy minimum for these parameters: at q = ("),
        ("D=5", "is not an energy minimum for these parameters: at q = ("),
    ],
)
@pytest.mark.parametrize("command", ["spinwaves", "simulate"])
def test_settings_that_do_not_work(
    refuse: Refuse, square_file: Path, tmp_path: Path, command: str, setting: str, expected: str
) -> None:
    more = ["--q", "0.3,0.2,0"] if command == "spinwaves" else ["-o", tmp_path / "x.npy"]
    assert expected in refuse(command, square_file, "near", *more, "--set", setting)
    assert list(tmp_path.iterdir()) == []


def test_unknown_model(refuse: Refuse, square_file: Path, tmp_path: Path) -> None:
    expected = "study square has no model nearest; it has near, far"
    assert refuse("spinwaves", square_file, "nearest", "--q", "0,0,0") == expected
    assert refuse("simulate", square_file, "nearest", "-o", tmp_path / "x.npy") == expected


# ---- resolution ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("study", ["pcsmo", None])
def test_resolution(run, square_file: Path, study: str | None) -> None:
    words = ["resolution", study or square_file, "--ei", 50, "--q=0.2,-0.1", "--energy", 20]
    found = run(*words, "--json").json
    covariance = np.array(found["covariance"])
    assert found["axes"] == ["h", "k", "energy"]
    assert covariance.shape == (3, 3)
    np.testing.assert_allclose(covariance, covariance.T, atol=1e-15)
    assert np.all(np.linalg.eigvalsh(covariance) > 0)
    assert "energy: FWHM" in run(*words).out


@pytest.mark.parametrize(
    ("ei", "q", "energy", "expected"),
    [
        ("60", "0,0", "10", "study square has no run at Ei = 60 meV; it has 50"),
        ("nan", "0,0", "10", "no run at Ei = nan"),
        ("50", "0,0", "50", "energy transfer 50 meV is not below Ei = 50 meV"),
        ("50", "0,0", "80", "is not below Ei"),
        ("50", "0,0", "nan", "is not below Ei"),
        ("50", "0,0", "inf", "is not below Ei"),
        ("50", "0,0", "-1e300", "no sample gives that"),
        ("50", "9,9", "10", "q = (9, 9) at 10 meV is out of reach with Ei = 50 meV"),
        ("50", "0,0.1", "49.999", "is out of reach"),
        ("50", "0", "10", "give h,k such as 0.5,0.5"),
        ("50", "0,0,0", "10", "give h,k such as 0.5,0.5"),
        ("50", "nan,0", "10", "give h,k such as 0.5,0.5"),
    ],
)
def test_resolution_out_of_reach(
    refuse: Refuse, square_file: Path, ei: str, q: str, energy: str, expected: str
) -> None:
    words = ["resolution", square_file, "--ei", ei, "--q", q, f"--energy={energy}"]
    assert expected in refuse(*words)
    assert expected in refuse(*words, "--json")


# ---- simulation ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_simulate_without_the_device_asked_for(refuse: Refuse, square_file: Path, tmp_path: Path) -> None:
    told = refuse("simulate", square_file, "far", "-o", tmp_path / "a.npy", "--device", "cuda")
    assert "there is no CUDA device on this machine; leave --device out" in told
    assert not list(tmp_path.iterdir())


def test_simulate_both_formats(run, square: Study, square_file: Path, tmp_path: Path) -> None:
    bare, full = tmp_path / "a.npy", tmp_path / "a.h5"
    told = run("simulate", square_file, "far", "-o", bare, "--set", "J1=-2.5", "--json").json
    units = "S_perp per magnetic cell and meV"
    assert told == {"file": str(bare), "model": "far", "parameters": {"J1": -2.5, "J2": -1.5}, "units": units}
    assert "J1 = -2.5" in run("simulate", square_file, "far", "-o", full, "--set", "J1=-2.5").out
    assert {path.name for path in tmp_path.iterdir()} == {"a.npy", "a.h5"}
    image = np.load(bare)
    assert image.shape == square.image_shape
    one, two = read_spectrum(bare, square), read_spectrum(full, square)
    np.testing.assert_allclose(one.signal, two.signal, rtol=1e-6)
    np.testing.assert_array_equal(one.valid, two.valid)
    np.testing.assert_array_equal(two.image, image)
    with h5py.File(full) as file:
        assert file["l"].shape == square.shape
        np.testing.assert_allclose(file["h"], square.view.axes[0].centres)
        np.testing.assert_allclose(file["energy_edges_meV"], square.energy_edges)
        assert file.attrs["parameter_J1"] == -2.5
        assert (file.attrs["model"], file.attrs["study"]) == ("far", "square")


def test_simulated_pixels_out_of_reach_are_nan(run, variant, tmp_path: Path) -> None:
    """At 0.7 Ei, pixels at the corners cannot be reached; they are NaN in the bare image and in the HDF5."""
    wide = variant(("from = -0.9, to = 0.9", "from = -3, to = 3"))
    bare, full = tmp_path / "a.npy", tmp_path / "a.h5"
    for path in (bare, full):
        assert run("simulate", wide, "near", "-o", path).status == 0
    missing = np.isnan(np.load(bare))
    assert missing[0, 0] and not missing[6, 6] and 0 < missing.mean() < 1
    with h5py.File(full) as file:
        np.testing.assert_array_equal(np.isnan(file["signal"][:]), ~file["valid"][:])


def test_pixels_without_a_detector_come_from_a_mask_or_an_image(run, square: Study, square_file, tmp_path) -> None:
    mask, measured, out = tmp_path / "mask.npy", tmp_path / "measured.npy", tmp_path / "a.npy"
    hidden = np.zeros(square.image_shape, bool)
    hidden[1, 2] = True
    np.save(mask, hidden)
    image = np.ones(square.image_shape)
    image[3, 1] = np.nan
    np.save(measured, image)
    assert run("simulate", square_file, "near", "-o", out, "--mask", mask, "--like", measured).status == 0
    missing = np.isnan(np.load(out))
    assert missing[1, 2] and missing[3, 1] and missing.sum() == 2


def test_units_kf_over_ki_temperature_and_width(run, square: Study, square_file, variant, refuse, tmp_path) -> None:
    plain, other = tmp_path / "a.npy", tmp_path / "b.npy"
    assert run("simulate", square_file, "near", "-o", plain).status == 0
    counted = variant(("[view]", "[intensity]\nformula_units = 2\n[view]"))
    told = run("simulate", counted, "near", "-o", other, "--units", "mbarn", "--json").json
    assert told["units"] == "mbarn/sr/meV/f.u."
    np.testing.assert_allclose(np.load(other), np.load(plain) * 290.6 / 2, rtol=1e-4)
    for words, sign in ((["--kf-ki"], -1), (["--temperature", 100], 1)):
        assert run("simulate", square_file, "near", "-o", other, *words).status == 0
        assert sign * (np.nansum(np.load(other)) - np.nansum(np.load(plain))) > 0
    assert run("simulate", square_file, "near", "-o", other, "--width", 3).status == 0
    assert np.nanstd(np.load(other)) < np.nanstd(np.load(plain))
    assert "formula_units" in refuse("simulate", square_file, "near", "-o", other, "--units", "mbarn")
    assert "temperature" in refuse("simulate", square_file, "near", "-o", other, "--temperature", -1)
    assert "width" in refuse("simulate", square_file, "near", "-o", other, "--width", "nan")


def test_lines_of_modes(run, square_file, variant, refuse, tmp_path) -> None:
    plain, other = tmp_path / "a.npy", tmp_path / "b.h5"
    words = ["simulate", square_file, "near"]
    assert run(*words, "-o", plain, "--width", 3).status == 0
    told = run(*words, "-o", other, "--width", 3, "--line", "lorentzian", "--json").json
    assert (told["line"], told["width_meV"]) == ("lorentzian", 3)
    with h5py.File(other) as file:
        assert (file.attrs["line"], file.attrs["width_meV"]) == ("lorentzian", 3)
    said = variant(("[[runs]]", 'line = "lorentzian"\nintrinsic_width = 3.0\n[[runs]]'))
    same = tmp_path / "c.npy"
    assert run("simulate", said, "near", "-o", same).status == 0
    # another shape of the same width; the same however it is said
    lorentzian = np.load(same)
    with h5py.File(other) as file:
        np.testing.assert_array_equal(file["signal"][0, 1], lorentzian[:, 12:])
    assert not np.allclose(np.load(plain), lorentzian, rtol=0.02, equal_nan=True)
    assert run("simulate", said, "near", "-o", same, "--line", "gaussian").status == 0
    np.testing.assert_array_equal(np.load(same), np.load(plain))
    assert "gaussian', 'lorentzian', 'oscillator'" in refuse(*words, "-o", same, "--line", "square")
    assert "an oscillator needs a width" in refuse(*words, "-o", same, "--line", "oscillator", "--width", 0)
    coarse = ["--line", "oscillator", "--resolution", "gaussian-coarse"]
    assert "is for gaussian modes" in refuse(*words, "-o", same, *coarse)


def test_true_shapes(run, square_file, refuse, tmp_path) -> None:
    first, second = tmp_path / "a.npy", tmp_path / "b.npy"
    words = ["simulate", square_file, "near", "--resolution", "montecarlo"]
    assert run(*words, "-o", first).status == 0
    assert run(*words, "-o", second, "--true-shapes", 4).status == 0
    pulse, true = np.load(first), np.load(second)
    away = np.linalg.norm(true - pulse) / np.linalg.norm(pulse)
    assert 0 < away < 0.1
    assert true.sum() == pytest.approx(pulse.sum(), rel=0.01)
    assert "give 1 to 75" in refuse(*words, "-o", second, "--true-shapes", 0)
    assert "fewer --zone-points" in refuse(*words, "-o", second, "--true-shapes", 4, "--zone-points", 200)
    assert "--tolerance chooses" in refuse(*words, "-o", second, "--true-shapes", 4, "--tolerance", 0.05)
    assert "is for --resolution montecarlo" in refuse(*words[:3], "-o", second, "--true-shapes", 4)


@pytest.mark.parametrize("method", ["none", "gaussian", "montecarlo"])
def test_resolution_keeps_the_intensity(run, square_file: Path, tmp_path: Path, method: str) -> None:
    path = tmp_path / "a.npy"
    assert run("simulate", square_file, "near", "-o", path, "--resolution", method).status == 0
    assert np.nanmean(np.load(path)) == pytest.approx(0.0143, rel=0.2)


def test_noise(run, square_file: Path, tmp_path: Path, square: Study) -> None:
    def counts(seed: int, name: str) -> np.ndarray:
        path = tmp_path / name
        words = ["--noise", 50, "--seed", seed, "-o", path]
        assert run("simulate", square_file, "near", *words).status == 0
        return read_spectrum(path, square).signal

    first, again, other = counts(1, "a.npy"), counts(1, "b.h5"), counts(2, "c.npy")
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(first, np.round(first))
    # 288 pixels of 50 counts each on average
    assert np.mean(first) == pytest.approx(50, abs=5 * np.sqrt(50 / 288))
    with h5py.File(tmp_path / "b.h5") as file:
        np.testing.assert_allclose(file["error"], np.sqrt(np.maximum(first, 1)))


@pytest.mark.parametrize("noise", ["-1", "0", "nan", "inf", "1e300"])
def test_noise_that_is_none(refuse: Refuse, square_file: Path, tmp_path: Path, noise: str) -> None:
    said = refuse("simulate", square_file, "near", "-o", tmp_path / "x.npy", f"--noise={noise}", "--json")
    assert "give a positive mean per pixel" in said
    assert list(tmp_path.iterdir()) == []


def test_output_that_cannot_be_written(refuse: Refuse, square_file: Path, tmp_path: Path) -> None:
    def said(path: object) -> str:
        return refuse("simulate", square_file, "near", "-o", path)

    (tmp_path / "folder.npy").mkdir()
    (tmp_path / "file").touch()
    assert "there is no folder" in said(tmp_path / "nowhere" / "x.npy")
    assert "there is no folder" in said(tmp_path / "file" / "x.npy")
    assert "is a folder; name a file" in said(tmp_path / "folder.npy")
    assert "must end in .npy or .h5" in said(tmp_path / "x.txt")
    assert "must end in .npy or .h5" in said(tmp_path)
    assert "must end in .npy or .h5" in said("")
    assert "File name too long" in said(tmp_path / ("x" * 300 + ".npy"))
    assert {path.name for path in tmp_path.iterdir()} == {"folder.npy", "file"}


@pytest.mark.parametrize("ending", [".npy", ".h5"])
def test_output_to_a_read_only_place(refuse: Refuse, square_file: Path, ending: str) -> None:
    if not Path("/proc/self").is_dir():
        pytest.skip("no read-only file system is at hand")
    assert "/proc/x" + ending + " cannot be written" in refuse(
        "simulate", square_file, "near", "-o", f"/proc/x{ending}"
    )


def test_what_was_there_stays_after_a_mistake(refuse: Refuse, square_file: Path, image: Path) -> None:
    before = image.read_bytes()
    refuse("simulate", square_file, "near", "--set", "J=1", "-o", image)
    assert image.read_bytes() == before
