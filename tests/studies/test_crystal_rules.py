"""What a study file may say of crystals, sites, bonds and exchange, and what is said of mistakes in it."""

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from magnoscope.errors import InstabilityError, StudyError
from magnoscope.hamiltonian import SpinModel
from magnoscope.spinwave import ModeSolver, check_stable
from magnoscope.studies import load_magnet, load_study, parse_magnet, parse_study
from magnoscope.studies.exchange import exchange_coefficients
from magnoscope.studies.magnet_schema import ExchangeTable
from magnoscope.symmetry import read_cif

SQUARE = (Path(__file__).parents[1] / "cli" / "square.toml").read_text("utf-8")
MNF2 = """data_MnF2
_cell_length_a 4.8736(2)
_cell_length_b 4.8736(2)
_cell_length_c 3.2998
_symmetry_space_group_name_H-M 'P 42/m n m'
loop_
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Mn1 0 0 0 1.0
F1 0.3053 0.3053 0 .
"""
MODEL = """name = "m"
{crystal}
[[sites]]
name = "{kind}"
ion = "Mn2+"
spin = {spin}
moment{moment}
{place}

[models.m.parameters]
J = {{ reference = {reference}, prior = [-5, 5] }}
K = {{ reference = 0.1, prior = [-5, 5] }}
{rules}
"""


def text(
    crystal="[lattice]\na = 4\nb = 4\nc = 9\ngamma = 120",
    rules='[[models.m.bonds]]\nshell = 1\nexchange = "J"',
    moment=" = [0, 0, 1]",
    place="positions = [[0, 0, 0]]",
    kind="A",
    spin=1.0,
    reference=-1.0,
) -> str:
    return MODEL.format(
        crystal=crystal, rules=rules, moment=moment, place=place, kind=kind, spin=spin, reference=reference
    )


def model(**options) -> SpinModel:
    return parse_magnet(text(**options)).model("m")


def refused(written: str, name: str = "my.toml") -> str:
    with pytest.raises(StudyError) as caught:
        parse_magnet(written, name)
    said = str(caught.value)
    assert "\n" not in said
    return said


def bond(exchange: str, how: str = "shell = 1") -> str:
    return f"[[models.m.bonds]]\n{how}\nexchange = {exchange}"


def energies(found: SpinModel, q=((0.13, 0.21, 0.34), (0.4, -0.1, 0.25))) -> np.ndarray:
    solver = ModeSolver(found)
    modes = solver.solve(found.values(), np.array(q))
    check_stable(solver, found.values(), modes)
    return modes.energies.numpy()


HEXAGONAL = 'space_group = "P 6/m m m"\n[lattice]\na = 4\nb = 4\nc = 9\ngamma = 120'
TETRAGONAL = 'space_group = "P 4/m m m"\n[lattice]\na = 4\nb = 4\nc = 6'
KAGOME = {"crystal": HEXAGONAL, "place": "positions = [[0.5, 0, 0]]"}
HONEYCOMB = {"crystal": HEXAGONAL.replace("P 6/m m m", "P -3 1 m"), "place": "positions = [[0.333, 0.667, 0]]"}

# ---- generated and typed by hand -------------------------------------------------------------------------------------


def test_crystal_file_and_hand_typed_sites(tmp_path: Path) -> None:
    """MnF2: the same bonds and modes from one atom of a CIF as from all sites and vectors typed out."""
    (tmp_path / "MnF2.cif").write_text(MNF2)
    rules = bond('"J"') + "\n" + bond('"2*J + 0.2"', "shell = 2") + "\n" + bond('"K"', "distance = 4.874")
    path = tmp_path / "m.toml"
    path.write_text(
        text(crystal='cif = "MnF2.cif"', rules=rules, moment="s = [[0, 0, 1], [0, 0, -1]]", place='label = "Mn1"',
             reference=-0.05) + "[[models.m.anisotropy]]\naxis = [0, 0, 1]\nvalue = -0.1"
    )  # fmt: skip
    made = load_magnet(path)
    typed = parse_magnet("""name = "m"
[lattice]
a = 4.8736
b = 4.8736
c = 3.2998
[[sites]]
name = "up"
ion = "Mn2+"
spin = 1
moment = [0, 0, 1]
positions = [[0, 0, 0]]
[[sites]]
name = "down"
ion = "Mn2+"
spin = 1
moment = [0, 0, -1]
positions = [[0.5, 0.5, 0.5]]
[models.m.parameters]
J = { reference = -0.05, prior = [-5, 5] }
K = { reference = 0.1, prior = [-5, 5] }
[[models.m.bonds]]
exchange = "J"
between = [["*", "*"]]
vectors = [[0, 0, 1]]
[[models.m.bonds]]
exchange = "2*J + 0.2"
between = [["up", "down"]]
vectors = [[0.5,0.5,0.5],[-0.5,0.5,0.5],[0.5,-0.5,0.5],[-0.5,-0.5,0.5],
           [0.5,0.5,-0.5],[-0.5,0.5,-0.5],[0.5,-0.5,-0.5],[-0.5,-0.5,-0.5]]
[[models.m.bonds]]
exchange = "K"
between = [["*", "*"]]
vectors = [[1, 0, 0], [0, 1, 0]]
[[models.m.anisotropy]]
axis = [0, 0, 1]
value = -0.1
""")
    assert made.crystal.group.name == "P 42/m n m"
    assert [s.name for s in made.model("m").sites] == ["A.1", "A.2"]
    assert len(made.model("m").bonds) == len(typed.model("m").bonds) == 14
    assert_allclose(energies(made.model("m")), energies(typed.model("m")), atol=1e-12)


def test_kagome_with_a_rotated_dm_vector() -> None:
    """Elhajal's planar pattern: D along +c on every bond walked round a triangle in one sense."""
    found = model(**KAGOME, rules=bond('{ heisenberg = "J", dm = [0, 0, "K"] }'))
    assert len(found.bonds) == 6
    direct = found.lattice.direct
    for b in found.bonds:
        d = np.array(b.vector) @ direct
        start = found.positions[b.start]
        # centres of the triangles: the corners of a honeycomb; the bond's own is the nearer one
        middle = start + d / 2
        centres = [np.array([1 / 3, 2 / 3, 0]), np.array([2 / 3, 1 / 3, 0])]
        steps = [(c - middle @ np.linalg.inv(direct)) for c in centres]
        nearest = min(((s - np.round(s)) @ direct for s in steps), key=np.linalg.norm)
        sense = np.sign(np.cross(d, nearest)[2])
        assert b.exchange[1, 0, 1] * sense == pytest.approx(found.bonds[0].exchange[1, 0, 1] * _sense(found, 0))
        assert b.exchange[1, 0, 1] == pytest.approx(-b.exchange[1, 1, 0])


def _sense(found: SpinModel, number: int) -> float:
    b = found.bonds[number]
    d = np.array(b.vector) @ found.lattice.direct
    middle = found.positions[b.start] + d / 2
    steps = [c - middle @ np.linalg.inv(found.lattice.direct) for c in ([1 / 3, 2 / 3, 0], [2 / 3, 1 / 3, 0])]
    nearest = min(((s - np.round(s)) @ found.lattice.direct for s in steps), key=np.linalg.norm)
    return float(np.sign(np.cross(d, nearest)[2]))


def test_kitaev_by_symmetry_and_by_bond() -> None:
    """Honeycomb: the exchange of one bond turned along is that of each bond by the axis it is perpendicular to."""
    octahedron = "axes = [[0.816497, 0, 0.57735], [-0.408248, 0.707107, 0.57735], [-0.408248, -0.707107, 0.57735]]"
    exchange = f'{{ kitaev = "K", gamma = 0.3, gamma_prime = 0.2, heisenberg = "J", {octahedron} }}'
    generated = model(**HONEYCOMB, rules=bond(exchange))
    sites = "positions = [[0.33333333, 0.66666667, 0], [0.66666667, 0.33333333, 0]]"
    typed = model(place=sites, rules=bond(exchange))
    assert len(generated.bonds) == len(typed.bonds) == 3

    def sums(found: SpinModel) -> np.ndarray:
        return sum(b.exchange for b in found.bonds)

    assert_allclose(sums(generated), sums(typed), atol=1e-5)
    # three axes once each: K/3 + .. on average
    assert_allclose(sums(generated)[1], np.eye(3), atol=1e-5)
    values = np.linalg.eigvalsh([b.exchange[1] for b in generated.bonds])
    assert_allclose(values, [[0, 0, 1]] * 3, atol=1e-5)


def test_supercell_of_a_symmetric_crystal() -> None:
    """An antiferromagnet on a square lattice in a doubled cell, by a propagation vector."""
    cell = "[magnetic_cell]\nsupercell = [2, 2, 1]\npropagation = [0.5, 0.5, 0]"
    found = model(crystal=f"{TETRAGONAL}\n{cell}", rules=bond('"J"') + "\n" + bond("-0.1", "shell = 3"), reference=1.0)
    assert [s.name for s in found.sites] == ["A.1", "A.1@0,1,0", "A.1@1,0,0", "A.1@1,1,0"]
    assert_allclose([s.moment[2] for s in found.sites], [1, -1, -1, 1], atol=1e-12)
    assert found.propagation is None
    q = np.array([[0.1, 0.3, 0.2], [0.25, 0.4, 0.1]])
    kx, ky, kz = 2 * np.pi * q.T
    # PHYSICS of the square antiferromagnet, with ferromagnetic coupling along c
    gamma = (np.cos(kx) + np.cos(ky)) / 2
    a = 4 + 0.2 * (1 - np.cos(kz))
    assert_allclose(energies(found, q)[:, 0], np.sqrt(a**2 - (4 * gamma) ** 2), atol=2e-6)


def test_turning_structure_of_a_symmetric_crystal() -> None:
    """The triangular antiferromagnet by its propagation vector: in a 3 x 3 cell, and in the rotating frame."""
    turned = "propagation = [0.333333333333, 0.333333333333, 0]\nrotation_axis = [0, 0, 1]"
    options = {"moment": " = [1, 0, 0]", "reference": 1.0}
    folded = model(crystal=f"{HEXAGONAL}\n[magnetic_cell]\nsupercell = [3, 3, 1]\n{turned}", **options)
    rotating = model(crystal=f"{HEXAGONAL}\n[magnetic_cell]\n{turned}", **options)
    assert len(folded.sites) == 9 and folded.propagation is None
    assert rotating.propagation is not None and rotating.rotation_axis == (0, 0, 1)
    assert_allclose(folded.sites[1].moment, (-0.5, np.sqrt(3) / 2, 0), atol=1e-9)
    q = [[0.1, 0.2, 0.0]]
    many, three = energies(folded, q)[0], energies(rotating, q)[0]
    # 3 J S sqrt((1 - g)(1 + 2 g)) at q and q +- k, as in tests/reference/test_spin_waves.py
    assert_allclose(three, [3.1808857, 3.0482344, 2.1424829], atol=2e-6)
    for energy in three:
        assert np.abs(many - energy).min() < 1e-6


def test_anisotropy_and_g_are_turned_along() -> None:
    """Local [111] axes of a pyrochlore from the one of the first site."""
    crystal = 'space_group = "F d -3 m:2"\n[lattice]\na = 10\nb = 10\nc = 10'
    rules = bond('"J"') + '\n[[models.m.anisotropy]]\naxis = [1, 1, 1]\nvalue = "K"'
    g = "g = [[3, 1, 1], [1, 3, 1], [1, 1, 3]]"
    found = model(crystal=crystal, place=f"positions = [[0.5, 0.5, 0.5]]\n{g}", rules=rules)
    assert len(found.sites) == 16
    for site, single in zip(found.sites, found.anisotropy, strict=True):
        values, vectors = np.linalg.eigh(single[1])
        assert_allclose(values, [0, 0, 1], atol=1e-12)
        axis = vectors[:, 2]
        assert_allclose(np.abs(axis), 1 / np.sqrt(3), atol=1e-12)
        assert_allclose(np.array(site.g) @ axis, 5 * axis, atol=1e-12)
    axes = {tuple(np.round(s[1] * 3).astype(int).ravel()) for s in found.anisotropy}
    assert len(axes) == 4


def test_generator_turns_an_exchange_along() -> None:
    crystal = "[lattice]\na = 4\nb = 4\nc = 9\n[magnetic_cell]\ngenerators = ['-y, x, z']"
    pair = 'pairs = [{ from = "A.1", to = "A.1", cell = [1, 0, 0] }]'
    found = model(crystal=crystal, rules=bond('{ matrix = [["J", 0, 0], [0, "K", 0], [0, 0, 0]] }', pair))
    assert len(found.bonds) == 2
    along_a, along_b = (next(b for b in found.bonds if b.vector[i]) for i in (0, 1))
    assert_allclose(along_a.exchange[0], np.diag([1, 0, 0]), atol=1e-12)
    assert_allclose(along_b.exchange[0], np.diag([0, 1, 0]), atol=1e-12)


def test_shells_and_pairs_without_a_space_group() -> None:
    """In a triclinic cell: the nearest neighbours by shell are those typed by displacement."""
    lattice = "[lattice]\na = 3\nb = 4\nc = 5\nalpha = 80\nbeta = 95\ngamma = 103"
    by_shell = model(crystal=lattice, rules=bond('"J"'))
    by_pair = model(crystal=lattice, rules=bond('"J"', 'bond = { from = "A.1", to = "A.1", cell = [1, 0, 0] }'))
    by_vector = model(crystal=lattice, rules=bond('"J"', 'between = [["A", "A"]]\nvectors = [[1, 0, 0]]'))
    for found in (by_shell, by_pair, by_vector):
        assert [np.abs(b.vector).tolist() for b in found.bonds] == [[1, 0, 0]]
    assert_allclose(energies(by_shell), energies(by_vector), atol=1e-12)


def test_a_moment_is_along_the_crystal_axes_where_the_file_says_so() -> None:
    crystal = 'frame = "crystal"\n[lattice]\na = 4\nb = 4\nc = 9\ngamma = 120'
    found = model(crystal=crystal, moment=" = [0, 1, 0]", rules=bond('"J"') + '\n[models.m]\nfield = [0, 0, "2*K"]')
    assert_allclose(found.sites[0].moment, (-0.5, np.sqrt(3) / 2, 0), atol=1e-12)
    assert_allclose(found.field, [[0, 0, 0], [0, 0, 2], [0, 0, 0]], atol=1e-12)


def test_field_and_g_raise_the_modes() -> None:
    """A ferromagnet in a field along its spins: every mode higher by g mu_B B."""
    field = "\n[models.m]\nfield = [0, 0, 3]"
    plain = energies(model(rules=bond('"J"')))
    raised = energies(model(rules=bond('"J"') + field, place="positions = [[0, 0, 0]]\ng = 2.2"))
    assert_allclose(raised - plain, 2.2 * 0.0578838 * 3, atol=1e-6)


def test_models_with_structures_of_their_own() -> None:
    crystal = f"{TETRAGONAL}\n[magnetic_cell]\nsupercell = [2, 1, 1]"
    own = "\n[models.m.structure]\nmoments.A = [[0, 0, 1], [0, 0, -1]]"
    found = model(crystal=crystal, rules=bond('"J"') + own)
    assert [s.moment[2] for s in found.sites] == [1, -1]
    stripes = "\n[models.m.structure]\npropagation = [0.5, 0, 0]\nrotation_axis = [1, 0, 0]"
    found = model(crystal=crystal, rules=bond('"J"') + stripes)
    assert_allclose([s.moment[2] for s in found.sites], [1, -1], atol=1e-12)


# ---- short forms -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"heisenberg": "J"}, np.eye(3)),
        ({"xxz": [0, "J"]}, np.diag([0, 0, 1])),
        ({"xxz": ["J", 0], "axis": [2, 0, 0]}, np.diag([0, 1, 1])),
        ({"dm": [0, 0, "J"]}, [[0, 1, 0], [-1, 0, 0], [0, 0, 0]]),
        ({"dm": ["J", 0, 0]}, [[0, 0, 0], [0, 0, 1], [0, -1, 0]]),
        ({"kitaev": "J", "axis": "y"}, np.diag([0, 1, 0])),
        ({"kitaev": "J", "axis": [0, 1, 1]}, [[0, 0, 0], [0, 0.5, 0.5], [0, 0.5, 0.5]]),
        ({"gamma": "J", "axis": "z"}, [[0, 1, 0], [1, 0, 0], [0, 0, 0]]),
        ({"gamma_prime": "J", "axis": "z"}, [[0, 0, 1], [0, 0, 1], [1, 1, 0]]),
        ({"kitaev": "J"}, np.diag([0, 0, 1])),
        ({"symmetric": [0, 0, 0, 0, 0, "J"]}, [[0, 1, 0], [1, 0, 0], [0, 0, 0]]),
        ({"symmetric": [0, 0, 0, "J", 0, 0]}, [[0, 0, 0], [0, 0, 1], [0, 1, 0]]),
        ({"matrix": [[0, "J", 0], [0, 0, 0], [0, 0, 0]]}, [[0, 1, 0], [0, 0, 0], [0, 0, 0]]),
        (
            {"matrix": [["J", 0, 0], [0, 0, 0], [0, 0, 0]], "axes": [[0, 1, 0], [0, 0, 1], [1, 0, 0]]},
            np.diag([0, 1, 0]),
        ),
        ({"dm": ["J", 0, 0], "axes": [[0, 0, 1], [1, 0, 0], [0, 1, 0]]}, [[0, 1, 0], [-1, 0, 0], [0, 0, 0]]),
    ],
    ids=str,
)
def test_short_forms(form: dict, expected) -> None:
    table = ExchangeTable.model_validate(form)
    found = exchange_coefficients(table, ["J"], direction=np.array([1.0, 1.0, 0.1]))
    assert_allclose(found[0], expected, atol=1e-12)
    assert_allclose(found[1], 0, atol=1e-12)


def test_dm_vector_is_that_of_the_cross_product() -> None:
    table = ExchangeTable.model_validate({"dm": [1, 2, 3]})
    matrix = exchange_coefficients(table, [])[0]
    a, b = np.array([0.3, -0.2, 0.9]), np.array([0.1, 0.7, -0.4])
    assert a @ matrix @ b == pytest.approx(np.dot([1, 2, 3], np.cross(a, b)))


# ---- mistakes --------------------------------------------------------------------------------------------------------

FCC = 'space_group = "F m -3 m"\n[lattice]\na = 4\nb = 4\nc = 4'
MISTAKES = {
    "forbidden DM": (
        {"crystal": FCC, "rules": bond('{ dm = [0, 0, "K"] }')},
        r"line \d+: models\.m\.bonds\.1\.exchange: symmetry forbids this on the bond from A.1 to A.\d in cell "
        r"\(0, 0, 0\); it allows J = \[\[J..*\] with the Dzyaloshinskii-Moriya vector \(0, 0, 0\)",
    ),
    "forbidden matrix": (
        {"crystal": TETRAGONAL, "rules": bond('[["J", "K", 0], ["K", "J", 0], [0, 0, "J"]]')},
        r"it allows J = \[\[Jxx, 0, 0\], \[0, Jyy, 0\], \[0, 0, Jzz\]\]",
    ),
    "forbidden anisotropy": (
        {"crystal": TETRAGONAL, "rules": bond('"J"') + '\n[[models.m.anisotropy]]\naxis = [1, 0, 0]\nvalue = "K"'},
        r"anisotropy.1.value: the symmetry of site A.1 allows no such anisotropy, only K = \[\[Kxx, 0, 0\], \[0, Kxx",
    ),
    "forbidden g": (
        {"crystal": TETRAGONAL, "place": "positions = [[0,0,0]]\ng = [[2, 0, 0], [0, 2.1, 0], [0, 0, 2]]"},
        r"sites.1.g: the symmetry of site A.1 allows no such g, only \[\[gxx",
    ),
    "unknown group": (
        {"crystal": TETRAGONAL.replace("P 4/m m m", "P 5")},
        'line 2: space_group: there is no space group "P 5"',
    ),
    "two origins": ({"crystal": FCC.replace("F m -3 m", "F d -3 m")}, "has two choices of origin"),
    "lattice of another system": (
        {"crystal": TETRAGONAL.replace("b = 4", "b = 5")},
        "space_group: the lattice 4, 5, 6; 90, 90, 90 does not have the symmetry",
    ),
    "shell that is none": ({"rules": bond('"J"', "shell = 0")}, "bonds.1.shell: .* greater than or equal to 1, not 0"),
    "shell by another letter": (
        {**KAGOME, "rules": bond('"J"', 'shell = "3c"')},
        "bonds.1.shell: there is no shell 3c; shell 3 holds 3a, 3b",
    ),
    "anisotropic exchange on two kinds of bonds": (
        {**KAGOME, "rules": bond('{ xxz = ["J", "K"] }', "shell = 3")},
        'shell 3 holds bonds that symmetry does not relate, 3a and 3b, .* such as shell = "3a"',
    ),
    "distance that is none": (
        {"rules": bond('"J"', "distance = 3")},
        "bonds.1.distance: no bond of this rule leads from \\* to \\*",
    ),
    "distance that is none, by symmetry": (
        {**KAGOME, "rules": bond('"J"', "distance = 3")},
        "bonds.1.distance: no bond is 3 Å long; shorter ones are 2.0000",
    ),
    "distance that may be two": (
        {
            "crystal": 'space_group = "P m m m"\n[lattice]\na = 4\nb = 4.02\nc = 9',
            "rules": bond('"J"', "distance = 4.01"),
        },
        "bonds of 4.0000 and 4.0200 Å are all about 4.01 Å long",
    ),
    "bond to itself": (
        {"crystal": FCC, "rules": bond('"J"', 'bond = { from = "A.1", to = "A.1" }')},
        "bonds.1.bond: the bond leads from A.1 to itself; give the `cell` it ends in",
    ),
    "bond of an unknown site": (
        {"crystal": FCC, "rules": bond('"J"', 'bond = { from = "A.1", to = "A.9" }')},
        "bonds.1.bond: there is no site A.9 in the crystal's cell; there are A.1, A.2, A.3, A.4",
    ),
    "bonds twice": (
        {"crystal": FCC, "rules": bond('"J"') + "\n" + bond('"K"', "distance = 2.8284")},
        r"models.m.bonds.2: the bond from A.1 by \(.*\) has an exchange already",
    ),
    "DM without a sense": (
        {"rules": bond('{ dm = [0, 0, "K"] }')},
        "models.m.bonds.1: the rule finds the bond from A.1 by .* from both ends, and its exchange differs",
    ),
    "no Kitaev axis": (
        {"rules": bond('{ kitaev = "K", axes = [[1, 1, 1], [1, -1, 0], [1, 1, -2]] }')},
        "bonds.1.exchange: just one of the three axes must be perpendicular to the bond",
    ),
    "skew axes": (
        {"rules": bond('{ kitaev = "K", axes = [[1, 1, 1], [1, 0, 0], [1, 1, -2]] }')},
        "bonds.1.exchange: the three `axes` must be perpendicular",
    ),
    "empty exchange": ({"rules": bond("{ }")}, "bonds.1.exchange: holds no exchange; give one or more of heisenberg"),
    "unknown form": ({"rules": bond('{ heisenbreg = "J" }')}, "bonds.1.exchange.heisenbreg: unknown key"),
    "unknown parameter in a form": ({"rules": bond('{ dm = [0, 0, "L"] }')}, '"L" is not a parameter of this model'),
    "gamma along a vector": (
        {"rules": bond('{ gamma = "K", axis = [1, 0, 0] }')},
        "bonds.1.exchange: gamma needs all three axes",
    ),
    "axis of nothing": ({"rules": bond('{ heisenberg = "J", axis = "x" }')}, "`axis` belongs to xxz, kitaev and gamma"),
    "two ways to name bonds": ({"rules": bond('"J"', "shell = 1\ndistance = 4")}, "bonds.1: give either `pairs`"),
    "moments of another number": (
        {"crystal": FCC, "moment": "s = [[0, 0, 1], [0, 0, -1]]"},
        "sites.1.moments: there are 2 moments; give 1 or 4, in the order A.1, A.2, A.3, A.4",
    ),
    "zero moment among others": (
        {"crystal": FCC, "moment": "s = [[0, 0, 1], [0, 0, 0], [0, 0, 1], [0, 0, 1]]"},
        "sites.1.moments.2: is zero; give it a direction",
    ),
    "moment missing": ({"moment": "s = []"}, "sites.1: give either `moment`, or `moments`"),
    "two positions with a group": (
        {"crystal": FCC, "place": "positions = [[0, 0, 0], [0.5, 0.5, 0]]"},
        "sites.1.positions: the space group makes the other sites of one",
    ),
    "label without a CIF": ({"place": 'label = "Mn1"'}, "sites.1.label: a label is one of a CIF"),
    "generators with a group": (
        {"crystal": FCC + '\n[magnetic_cell]\ngenerators = ["-x, y, z"]'},
        "magnetic_cell.generators: the space group makes the sites",
    ),
    "wave vector that does not fit": (
        {"crystal": FCC + "\n[magnetic_cell]\npropagation = [0.5, 0, 0]"},
        r"magnetic_cell.propagation: \(0.5, 0, 0\) does not fit the supercell \(1, 1, 1\); double it",
    ),
    "wave vector that changes nothing": (
        {"crystal": FCC + "\n[magnetic_cell]\npropagation = [1, 0, 0]"},
        "magnetic_cell.propagation: .* it changes nothing",
    ),
    "wave vector without an axis": (
        {"crystal": FCC + "\n[magnetic_cell]\npropagation = [0.23, 0, 0]"},
        "magnetic_cell.propagation: .* give the `rotation_axis`",
    ),
    "axis without a wave vector": (
        {"crystal": FCC + "\n[magnetic_cell]\nrotation_axis = [0, 0, 1]"},
        "magnetic_cell.rotation_axis: there is no `propagation`",
    ),
    "moments of an unknown kind": (
        {"rules": bond('"J"') + "\n[models.m.structure]\nmoments.B = [[0, 0, 1]]"},
        "models.m.structure.moments.B: there is no site B; there are A",
    ),
    "field of an unknown parameter": ({"rules": bond('"J"') + '\n[models.m]\nfield = [0, 0, "B"]'}, "models.m.field: "),
    "large supercell": (
        {"crystal": FCC + "\n[magnetic_cell]\nsupercell = [10, 10, 1]"},
        "magnetic_cell.supercell: there are 400 sites; 256 are allowed",
    ),
    "no lattice": ({"crystal": ""}, "lattice: this key is missing"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(case: str) -> None:
    options, expected = MISTAKES[case]
    said = refused(text(**options))
    assert re.search(expected, said), said
    assert said.startswith("my.toml")
    assert len(said) < 600


CIF_MISTAKES = {
    "missing": ("", None, "there is no crystal file"),
    "no CIF": ("hello", None, "is not a CIF file: line 1"),
    "binary": ("\0\1\2" * 50, None, "is not a CIF file"),
    "empty": (" ", None, "is empty"),
    "no cell": (MNF2, ("_cell_length_b 4.8736(2)\n", ""), "_cell_length_b is not given; a crystal file needs the cell"),
    "cell unknown": (MNF2, ("4.8736(2)\n_cell_length_c", "?\n_cell_length_c"), "_cell_length_b is not given"),
    "cell of text": (MNF2, ("_cell_length_c 3.2998", "_cell_length_c long"), "_cell_length_c is long"),
    "no symmetry": (MNF2, ("_symmetry_space_group_name_H-M 'P 42/m n m'\n", ""), "it names no space group"),
    "unknown group": (MNF2, ("P 42/m n m", "P 42/q"), 'there is no space group "P 42/q"'),
    "two origins": (
        MNF2.replace("4.8736(2)", "3.2998"),
        ("P 42/m n m", "F d -3 m"),
        "has two choices of origin",
    ),
    "another lattice": (MNF2, ("P 42/m n m", "F m -3 m"), "does not have the symmetry of space group F m -3 m"),
    "no atoms": (MNF2, ("_atom_site_fract_x", "_atom_site_x"), "it lists no atoms with _atom_site_fract_x"),
    "no such atom": (MNF2, ("Mn1 0", "Fe1 0"), "the crystal file has no atom Mn1; it has Fe1, F1"),
    "atom twice": (MNF2, ("F1 ", "Mn1 "), "the crystal file has 2 atoms labelled Mn1"),
    "occupancy": (MNF2, ("0 0 0 1.0", "0 0 0 0.9"), "Mn1 is there to 90 % only; .* write `full = true`"),
    "operations that are none": (
        MNF2,
        ("loop_\n_atom_site_label", "loop_\n_symmetry_equiv_pos_as_xyz\n'x,y'\nloop_\n_atom_site_label"),
        '"x,y" is no symmetry operation',
    ),
    "operations that make no group": (
        MNF2,
        (
            "loop_\n_atom_site_label",
            "loop_\n_symmetry_equiv_pos_as_xyz\n'x+1/24,y,z'\n'y+1/24,z,x'\nloop_\n_atom_site_label",
        ),
        "the symmetry operations make no space group",
    ),
    "huge": (MNF2 + "#" * 5_000_001, None, "has more than 5 MB"),
}


@pytest.mark.parametrize("case", CIF_MISTAKES)
def test_mistakes_in_a_crystal_file(case: str, tmp_path: Path) -> None:
    content, change, expected = CIF_MISTAKES[case]
    if change:
        assert change[0] in content
        content = content.replace(*change)
    if content:
        (tmp_path / "x.cif").write_text(content)
    said = refused(text(crystal='cif = "x.cif"', place='label = "Mn1"'), str(tmp_path / "my.toml"))
    assert re.search(expected, said), said
    assert re.search(r"my.toml, line \d+: (cif|sites\.1\.label): ", said), said


def test_crystal_files_that_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "folder.cif").mkdir()
    for name, expected in (("folder.cif", "is not a file"), ("/dev/zero", "is not a file"), ("/dev/null", "is not a")):
        with pytest.raises(StudyError, match=expected):
            read_cif(tmp_path / name)


def test_cif_and_lattice_both(tmp_path: Path) -> None:
    (tmp_path / "x.cif").write_text(MNF2)
    name = str(tmp_path / "my.toml")
    place = 'label = "Mn1"'
    both = text(crystal='cif = "x.cif"\n[lattice]\na = 4\nb = 4\nc = 4', place=place)
    assert "line 3: lattice: the CIF gives the lattice" in refused(both, name)
    both = text(crystal='cif = "x.cif"\nspace_group = 1', place=place)
    assert "line 3: space_group: the CIF gives the space group" in refused(both, name)
    full = MNF2.replace("0 0 0 1.0", "0 0 0 0.9")
    (tmp_path / "x.cif").write_text(full)
    assert parse_magnet(text(crystal='cif = "x.cif"', place=f"{place}\nfull = true"), name).model("m").bonds


def test_hash_of_a_study_follows_its_crystal_file(tmp_path: Path) -> None:
    lattice = "[lattice]\na = 4.0\nb = 4.0\nc = 10.0\n"
    study = SQUARE.replace(lattice, "").replace('name = "square"', 'name = "square"\ncif = "x.cif"', 1)
    study = study.replace("positions = [[0, 0, 0]]", 'label = "Mn1"')
    path = tmp_path / "x.toml"
    path.write_text(study)
    cif = MNF2.replace("4.8736(2)", "4").replace("3.2998", "10").replace("P 42/m n m", "P 4/m m m")
    (tmp_path / "x.cif").write_text(cif)
    first = load_study(path)
    (tmp_path / "x.cif").write_text(cif + "# a comment\n")
    assert load_study(path).physics_hash == first.physics_hash
    (tmp_path / "x.cif").write_text(cif.replace("_cell_length_c 10", "_cell_length_c 10.1"))
    assert load_study(path).physics_hash != first.physics_hash
    assert first.physics_hash != parse_study(SQUARE).physics_hash
    assert_allclose(energies(first.model("near")), energies(parse_study(SQUARE).model("near")), atol=1e-12)


def test_a_file_of_crystal_and_models_is_no_study() -> None:
    with pytest.raises(StudyError, match="this key is missing"):
        parse_study(text())
    assert parse_magnet(SQUARE).name == "square"
    with pytest.raises(StudyError, match="runs"):
        parse_magnet(SQUARE.replace("[[runs]]\nei = 50\nfrequency = 200\nenergy_bin = 0.25\n", ""))


def test_wrong_structure_is_still_refused() -> None:
    """A ferromagnet where the exchange is antiferromagnetic."""
    with pytest.raises(InstabilityError):
        energies(model(crystal=FCC, reference=1.0))
