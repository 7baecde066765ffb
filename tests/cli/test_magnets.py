"""Magnetic structures, temperature and powder averages through the command line."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from magnoscope.spinwave import ModeSolver, form_factor
from magnoscope.units import BOLTZMANN

Refuse = Callable[..., str]


def test_structure_of_the_worked_study(run) -> None:
    found = run("structure", "pcsmo", "goodenough", "--minimise", "--starts", 2, "--json").json
    assert found["stationary"] and found["minimum"]
    assert len(found["sites"]) == 16 and found["sites"][0]["torque_meV"] == [0, 0, 0]
    assert found["found"] | {"moments": 0} == {
        "lower": False,
        "energy_meV_per_cell": found["energy_meV_per_cell"],
        "energy_meV_per_site": found["energy_meV_per_site"],
        "moments": 0,
        "k": None,
        "starts": 2,
        "reached": 2,
    }
    assert found["bound_meV_per_site"] <= found["energy_meV_per_site"]


def test_structure_that_is_wrong(run, square_file: Path, variant) -> None:
    found = run("structure", square_file, "near", "--set", "J=1", "--json").json
    assert found["stationary"] and not found["minimum"] and found["found"] is None
    # w(q) = 2 J (cos h + cos k - 2) + 2 |D|: deepest at the zone corner
    assert found["lowest_at_q"] == pytest.approx([0.5, 0.5, 0], abs=1e-4)
    assert found["lowest_eigenvalue_meV"] == pytest.approx(-8 + 0.2, abs=1e-6)
    tilted = variant(("moment = [0, 0, 1]", "moment = [1, 0, 1]"))
    report = run("structure", tilted, "near", "--minimise")
    assert report.status == 0
    assert "It is not stationary: the spin of site Mn" in report.out
    assert "A lower structure was found, at -8.1 meV per site" in report.out
    assert "moments of the lower structure:" in report.out
    again = run("structure", tilted, "near", "--minimise", "--json").json
    assert again["sites"][0]["torque_meV"] == pytest.approx([0, -0.1, 0])  # S x B, B along the easy axis
    assert np.abs(again["found"]["moments"][0]) == pytest.approx([0, 0, 1], abs=1e-9)


def test_structure_of_another_wave_vector(run, square_file: Path) -> None:
    words = ["structure", square_file, "near", "--set", "J=1", "--set", "D=0.05", "--k", "0.3,0.4,0", "--minimise"]
    found = run(*words, "--json").json["found"]
    assert found["lower"] and found["k"] == pytest.approx([0.5, 0.5, 0], abs=1e-6)
    assert found["energy_meV_per_site"] == pytest.approx(-2)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["structure", "pcsmo", "nothing"], "no model nothing"),
        (["structure", "pcsmo", "dimer", "--set", "J=1"], "no parameter J"),
        (["structure", "pcsmo", "dimer", "--starts", "0"], "'--starts'"),
        (["structure", "pcsmo", "dimer", "--k", "1,2"], '--k "1,2" is not understood'),
        (["structure", "pcsmo", "dimer", "--k", "0.3,0,0", "--axis", "0,0,0"], "rotation axis is zero"),
        (["structure", "pcsmo", "dimer", "--k", "0.3,0,0", "--axis", "1,0,0"], "anisotropy of site"),
        (["spinwaves", "pcsmo", "dimer", "--q", "0.1,0,0", "--temperature", "-1"], "the temperature is -1 K"),
        (["powder", "pcsmo", "dimer", "-o", "x.txt"], "x.txt must end in .h5 or .png"),
        (["powder", "pcsmo", "dimer", "-o", "none/x.h5"], "there is no folder none"),
        (["powder", "pcsmo", "dimer", "-o", "x.h5", "--q-from", "2", "--q-to", "1"], "is no range of |Q|"),
        (["powder", "pcsmo", "dimer", "-o", "x.h5", "--q-from", "0"], "is no range of |Q|"),
        (["powder", "pcsmo", "dimer", "-o", "x.h5", "--energy-to", "-1"], "--energy-to -1 is no range"),
        (["powder", "pcsmo", "dimer", "-o", "x.h5", "--width", "-1"], "a width of -1.0 meV"),
        (["powder", "pcsmo", "dimer", "-o", "x.h5", "--line", "square"], "'gaussian', 'lorentzian', 'oscillator'"),
        (["powder", "pcsmo", "dimer", "-o", "x.h5", "--temperature", "nan"], "the temperature is nan K"),
        (["powder", "pcsmo", "dimer", "-o", "x.h5", "--tolerance", "0"], "tolerance of a powder average"),
        (["powder", "pcsmo", "dimer", "-o", "x.h5", "--set", "JA1=-1", "--set", "JA2=-1"], "not an energy minimum"),
    ],
    ids=lambda value: " ".join(value)[-40:] if isinstance(value, list) else None,
)
def test_questions_without_an_answer(refuse: Refuse, tmp_path: Path, monkeypatch, words, expected) -> None:
    monkeypatch.chdir(tmp_path)
    assert expected in refuse(*words)
    assert list(tmp_path.iterdir()) == []


def test_temperature_multiplies_intensities(run, square_file: Path) -> None:
    words = ["spinwaves", square_file, "near", "--q", "0.2,0.3,0", "--json"]
    cold, warm = run(*words).json, run(*words, "--temperature", 50).json
    assert warm["energies_meV"] == cold["energies_meV"]
    factor = 1 / -np.expm1(-np.array(cold["energies_meV"]) / (BOLTZMANN * 50))
    assert np.array(warm["intensities"]) == pytest.approx(np.array(cold["intensities"]) * factor)


def test_share_of_the_orbital_moment(run, refuse: Refuse, square_file: Path, variant) -> None:
    words = ["near", "--q", "0.4,0.3,0", "--json"]
    plain = run("spinwaves", square_file, *words).json
    found = run("spinwaves", variant(("spin = 1.0", "spin = 1.0\norbital = 0.3")), *words).json
    length = 2 * np.pi * np.hypot(0.4, 0.3) / 4
    ratio = float(form_factor("Mn2+", length, 0.3) / form_factor("Mn2+", length)) ** 2
    assert found["energies_meV"] == plain["energies_meV"]
    assert found["intensities"][0] == pytest.approx(ratio * np.array(plain["intensities"][0]))
    assert ratio > 1.01
    wrong = variant(('ion = "Mn2+"', 'ion = "Pr3+"\norbital = 0.3'))
    assert "ion Pr3+ has no" in refuse("spinwaves", wrong, *words[:3])


def test_powder_file_and_figure(run, square_file: Path, square, tmp_path: Path) -> None:
    path = tmp_path / "powder.h5"
    words = ["powder", square_file, "near", "-o", path, "--q-points", 4, "--energy-points", 20, "--q-from", 0.5]
    summary = run(*words, "--json").json
    assert summary["file"] == str(path) and summary["largest_change"] <= 0.02
    with h5py.File(path) as file:
        assert file.attrs["study"] == str(square_file) and file.attrs["parameter_J"] == -4
        intensity, edges, q = file["intensity_per_meV"][:], file["energy_edges_meV"][:], file["q_per_angstrom"][:]
    assert q.tolist() == summary["q_per_angstrom"] and intensity.shape == (4, 20)
    # all modes are within the range: S / 2 (1 + <cos^2>) = 2 S / 3 whatever the energies
    expected = 2 / 3 * form_factor("Mn2+", q).numpy() ** 2
    assert (intensity * np.diff(edges)).sum(1) == pytest.approx(expected, rel=0.02)
    top = float(ModeSolver(square.models["near"]).solve([-4, -0.1], [(0.5, 0.5, 0)]).energies[0, 0])
    assert edges[-1] > top
    drawn = run(*words[:4], tmp_path / "powder.png", *words[5:])
    assert drawn.status == 0 and "4 |Q| with" in drawn.out
    assert (tmp_path / "powder.png").read_bytes()[:4] == b"\x89PNG"
    assert len(list(tmp_path.iterdir())) == 2
