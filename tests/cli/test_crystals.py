"""Bonds of crystals, and spin waves along paths, through the command line."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from magnoscope.studies import parse_magnet

Refuse = Callable[..., str]
PYROCHLORE = """data_x
_cell_length_a 10.1
_cell_length_b 10.1
_cell_length_c 10.1
_space_group_name_H-M_alt 'F d -3 m:2'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Yb1 Yb3+ 0.5 0.5 0.5
Ti1 Ti4+ 0 0 0
O1 O2- 0.331 0.125 0.125
"""


@pytest.fixture
def cif(tmp_path: Path) -> Path:
    path = tmp_path / "pyrochlore.cif"
    path.write_text(PYROCHLORE)
    return path


def test_bonds_of_a_crystal_file(run, cif: Path) -> None:
    found = run("bonds", cif, "--site", "Yb1", "--shells", 3, "--json").json
    assert found["space_group"] == "F d -3 m:2"
    assert [s["name"] for s in found["sites"]] == [f"Yb1.{n}" for n in range(1, 17)]
    assert [s["label"] for s in found["shells"]] == ["1", "2", "3a", "3b"]
    assert [s["bonds_per_cell"] for s in found["shells"]] == [48, 96, 48, 48]
    assert [s["neighbours"]["Yb1.1"] for s in found["shells"]] == [6, 12, 6, 6]
    nearest = found["shells"][0]
    assert nearest["length_angstrom"] == pytest.approx(10.1 / np.sqrt(8))
    assert len({name for row in nearest["exchange"] for name in row}) == 5  # Jxx, Jyy, Jyz, Dy, -Dy
    written = run("bonds", cif, "--site", "Yb1", "--shells", 1).out
    assert "shell 1: 3.5709 Å, 48 bonds a cell" in written
    assert nearest["example"].splitlines()[-1] in written


def test_the_example_of_each_shell_can_be_used(run, cif: Path) -> None:
    """What `bonds` prints goes into a study file as it stands."""
    for shell in run("bonds", cif, "--site", "Yb1", "--shells", 3, "--json").json["shells"]:
        names = {
            w for w in shell["example"].replace('"', " ").replace("-", " ").split() if w[0] in "JD" and w[1:2].isdigit()
        }
        parameters = "\n".join(f"{name} = {{ reference = 0.1, prior = [-1, 1] }}" for name in sorted(names))
        text = (
            f'name = "x"\nspace_group = "F d -3 m:2"\n[lattice]\na = 10.1\nb = 10.1\nc = 10.1\n'
            f'[[sites]]\nname = "Yb1"\nion = "Yb3+"\nspin = 0.5\nmoment = [0, 0, 1]\npositions = [[0.5, 0.5, 0.5]]\n'
            f"[models.NAME.parameters]\n{parameters}\n{shell['example']}\n"
        )
        assert len(parse_magnet(text).model("NAME").bonds) == shell["bonds_per_cell"]


def test_magnetic_atoms_are_found_by_their_element(run, cif: Path) -> None:
    found = run("bonds", cif, "--shells", 1, "--json").json
    assert {s["name"].split(".")[0] for s in found["sites"]} == {"Yb1", "Ti1"}


def test_bonds_of_a_study(run, square_file: Path) -> None:
    found = run("bonds", square_file, "--shells", 2, "--json").json
    assert [s["label"] for s in found["shells"]] == ["1a", "1b", "2a", "2b"]
    assert [s["length_angstrom"] for s in found["shells"]] == pytest.approx([4.0, 4.0, 32**0.5, 32**0.5])
    written = run("bonds", square_file, "--shells", 2).out
    assert "shell 1: 4.0000 Å, 2 bonds a cell: 2 Mn - Mn\n" in written


def test_what_bonds_refuses(refuse: Refuse, cif: Path, square_file: Path, tmp_path: Path) -> None:
    assert "the crystal file has no atom Fe1" in refuse("bonds", cif, "--site", "Fe1", "--json")
    assert "there is no crystal file" in refuse("bonds", tmp_path / "no.cif")
    assert "there is no study" in refuse("bonds", "nothing")
    assert "--site picks atoms of a CIF" in refuse("bonds", square_file, "--site", "Mn")
    assert "--shells" in refuse("bonds", cif, "--shells", 0)
    cif.write_text(PYROCHLORE.replace("Yb1 Yb3+", "C1 C").replace("Ti1 Ti4+", "C2 C"))
    assert "no atom of an element with a magnetic ion" in refuse("bonds", cif)
    cif.write_text(PYROCHLORE.replace("Ti1 Ti4+ 0 0 0", "Tb1 Tb3+ 0.5 0.5 0.5"))
    assert "pick the magnetic atoms by --site" in refuse("bonds", cif)


def test_path(run, square_file: Path, tmp_path: Path) -> None:
    words = ["spinwaves", square_file, "near", "--path", "G=0,0,0 X=1/2,0,0 1/2,1/2,0", "--points", 21, "--no-twins"]
    figure = tmp_path / "waves.png"
    found = run(*words, "-o", figure, "--json").json
    assert found["path"]["labels"] == ["G", "X", "(1/2,1/2,0)"]
    q = np.array(found["q"])
    assert len(q) == len(found["energies_meV"]) == 21
    np.testing.assert_allclose(found["path"]["ticks_inverse_angstrom"], np.array([0, 1, 2]) * np.pi / 4, atol=1e-12)
    expected = 8 * (2 - np.cos(2 * np.pi * q[:, 0]) - np.cos(2 * np.pi * q[:, 1])) + 0.2
    np.testing.assert_allclose(np.ravel(found["energies_meV"]), expected, atol=1e-6)
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert "X: 16.2000 meV" in run(*words).out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "Missing option '--q', or '--path'"),
        (["--q", "0,0,0", "--path", "0,0,0 1,0,0"], "give one of the two"),
        (["--path", "0,0,0"], "has no two corners"),
        (["--path", "0,0,0 0,0,0"], "no two in succession the same"),
        (["--path", "0,0,0 1,0"], '"1,0" is not understood'),
        (["--path", "0,0,0 1/0,0,0"], '"1/0,0,0" is not understood'),
        (["--path", "0,0,0 nan,0,0"], '"nan,0,0" is not understood'),
        (["--path", "0,0,0 1e9,0,0"], "is not understood"),
        (["--path", "0,0,0 =1,0,0"], "is not understood"),
        (["--path", "0,0,0 1,0,0", "--points", "1"], "'--points'"),
        (["--path", "0,0,0 1,0,0", "--width", "0"], "--width 0 is no width"),
        (["--path", "0,0,0 1,0,0", "-o", "x.txt"], "must end in .png or .pdf or .svg"),
        (["--q", "0,0,0", "-o", "x.png"], "a figure is drawn of a path"),
    ],
    ids=str,
)
def test_paths_that_are_none(refuse: Refuse, square_file: Path, words: list[str], expected: str) -> None:
    assert expected in refuse("spinwaves", square_file, "near", *words)
