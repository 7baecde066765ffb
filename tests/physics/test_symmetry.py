"""What symmetry says of sites, bonds and tensors."""

import gemmi
import numpy as np
import pytest
import spglib
import spglib.error
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from magnoscope.crystal import Lattice
from magnoscope.errors import StudyError
from magnoscope.symmetry import AllowedForm, Crystal, CrystalBond, SpaceGroup
from magnoscope.symmetry.tensors import cross_matrix

GENERIC = (0.137, 0.291, 0.383)
"""On no symmetry element of any group."""
SETTINGS = [
    "P -1", "P 1 2 1", "P 1 21/c 1", "C 1 2/m 1", "P b n m", "C m c a", "B m a b", "F d d d:2", "P 42/m n m",
    "I 41/a m d:2", "I 4/m m m", "P -4 21 m", "R -3 m:H", "R -3 m:R", "P 31 2 1", "P -3 1 m", "P 63/m m c", "P 6/m m m",
    "P 21 3", "F d -3 m:2", "I 41 3 2", "P a -3",
]  # fmt: skip


def lattice_of(group: gemmi.SpaceGroup) -> Lattice:
    """A lattice that has the symmetry of a group and no more than it must."""
    a, b, c = 5.1, 6.3, 7.7
    match group.crystal_system_str():
        case "triclinic":
            return Lattice(a, b, c, 83, 97, 104)
        case "monoclinic":
            return Lattice(a, b, c, 90, 103, 90)
        case "orthorhombic":
            return Lattice(a, b, c)
        case "tetragonal":
            return Lattice(a, a, c)
        case "cubic":
            return Lattice(c, c, c)
        case _:
            return Lattice(a, a, a, 77, 77, 77) if group.ext == "R" else Lattice(a, a, c, 90, 90, 120)


def make(name: str, *positions: tuple[float, float, float]) -> Crystal:
    lattice = lattice_of(gemmi.find_spacegroup_by_name(name))
    kinds = [(f"A{number}", position) for number, position in enumerate(positions or [GENERIC])]
    return Crystal.generate(lattice, SpaceGroup.named(name, lattice), kinds)


# ---- shells of known structures --------------------------------------------------------------------------------------

CUBIC, HEXAGONAL = Lattice(4, 4, 4), Lattice(4, 4, 9, 90, 90, 120)
SHELLS = {
    # neighbours of a site and squared distances in units of the nearest one (N. W. Ashcroft and N. D. Mermin, ch. 4)
    "simple cubic": (CUBIC, "P m -3 m", (0, 0, 0), [6, 12, 8, 6], [1, 2, 3, 4]),
    "body centred": (CUBIC, "I m -3 m", (0, 0, 0), [8, 6, 12, 24], [1, 4 / 3, 8 / 3, 11 / 3]),
    "face centred": (CUBIC, "F m -3 m", (0, 0, 0), [12, 6, 24, 12], [1, 2, 3, 4]),
    "diamond": (CUBIC, "F d -3 m:2", (1 / 8, 1 / 8, 1 / 8), [4, 12, 12, 6], [1, 8 / 3, 11 / 3, 16 / 3]),
    "pyrochlore": (CUBIC, "F d -3 m:2", (0.5, 0.5, 0.5), [6, 12, 6 + 6], [1, 3, 4]),
    "triangular": (HEXAGONAL, "P 6/m m m", (0, 0, 0), [6, 6, 2, 6], [1, 3, 81 / 16, 4]),
    "honeycomb": (HEXAGONAL, "P 6/m m m", (1 / 3, 2 / 3, 0), [3, 6, 3, 6], [1, 3, 4, 7]),
    "kagome": (HEXAGONAL, "P 6/m m m", (0.5, 0, 0), [4, 4, 2 + 4, 8], [1, 3, 4, 7]),
}


@pytest.mark.parametrize("name", SHELLS)
def test_neighbours_of_known_structures(name: str) -> None:
    lattice, group, position, neighbours, squares = SHELLS[name]
    crystal = Crystal.generate(lattice, SpaceGroup.named(group, lattice), [("A", position)])
    orbits = crystal.shells(5)
    found: dict[int, int] = {}
    lengths: dict[int, float] = {}
    for orbit in orbits:
        found[orbit.shell] = found.get(orbit.shell, 0) + crystal.neighbours(orbit, 0)
        lengths[orbit.shell] = orbit.length
    expected = dict(zip(np.argsort(np.argsort(squares)) + 1, neighbours, strict=True))
    known = {shell: n for shell, n in found.items() if shell in expected}
    in_order = [squares[i] for i in np.argsort(squares)]
    assert {int(k): v for k, v in expected.items()} == known
    ratio = [(lengths[shell] / lengths[1]) ** 2 for shell in range(1, len(squares) + 1)]
    assert_allclose(ratio, in_order, rtol=1e-9)


@settings(max_examples=20)
@given(
    lengths=st.tuples(*[st.floats(3, 9)] * 3),
    angles=st.tuples(*[st.floats(70, 110)] * 3),
    place=st.tuples(*[st.floats(0.1, 0.9)] * 3),
)
def test_bonds_of_a_triclinic_lattice_are_all_found(lengths, angles, place) -> None:
    """Against counting in a block of cells far larger than the search can need."""
    lattice = Lattice(*lengths, *angles)
    crystal = Crystal.generate(lattice, SpaceGroup.trivial(), [("A", (0, 0, 0)), ("B", place)])
    reach = 6.0
    offsets = np.stack(np.meshgrid(*[np.arange(-6, 7)] * 3, indexing="ij"), -1).reshape(-1, 3)
    steps = crystal.positions[None, :, None] - crystal.positions[:, None, None] + offsets
    distances = np.linalg.norm(steps @ lattice.direct, axis=-1)
    assume(np.abs(distances - reach).min() > 1e-9)  # rounding decides what is within a reach that is a distance itself
    count = int(((distances < reach) & (distances > 1e-3)).sum())
    bonds = [b for b in crystal.bonds_within(reach) if crystal.length(b) < reach]
    assert 2 * len(bonds) == count
    assert len(set(bonds)) == len(bonds)
    assert all(b.canonical == b and b.reversed.canonical == b for b in bonds)


# ---- allowed tensors -------------------------------------------------------------------------------------------------

BOX = Lattice(5, 6, 7)
A, B = (0.2, 0.3, 0.1), (0.6, 0.3, 0.1)
"""Ends of a bond along x."""
MORIYA = {
    # T. Moriya, Phys. Rev. 120, 91 (1960), section 2: operations, and the components of D that are left
    "1: inversion at the centre": (["0.8-x, 0.6-y, 0.2-z"], ""),
    "2: mirror across the bond at its centre": (["0.8-x, y, z"], "yz"),
    "3: mirror that holds both ends": (["x, y, 0.2-z"], "z"),
    "4: twofold axis across the bond at its centre": (["0.8-x, y, 0.2-z"], "xz"),
    "5: n-fold axis along the bond": (["x, 0.6-y, 0.2-z"], "x"),
    "nothing": (["x, y, z"], "xyz"),
}


@pytest.mark.parametrize("rule", MORIYA)
def test_rules_of_moriya(rule: str) -> None:
    (text,), expected = MORIYA[rule]
    rotation, translation = np.eye(3), np.zeros(3)
    for axis, part in enumerate(text.split(",")):
        if "-" in part:
            rotation[axis, axis], translation[axis] = -1, float(part.split("-")[0])
    group = SpaceGroup(
        rule,
        0,
        np.array([np.eye(3), rotation]).astype(int),
        np.array([np.zeros(3), translation]),
    )
    kept = np.allclose(rotation @ A + translation, A)
    crystal = Crystal(BOX, group, ("a.1", "b.1"), np.array([A, B]))
    form = crystal.bond_form(CrystalBond(0, 1, (0, 0, 0)))
    allowed = "".join(x for x, text in zip("xyz", form.vector, strict=True) if text != "0")
    assert allowed == expected
    assert kept == (rule[0] in "35n")
    # and the symmetric part is what a tensor under the same rotation keeps
    for basis in form.symmetric:
        assert_allclose(rotation @ basis @ rotation.T, basis, atol=1e-12)


def test_pyrochlore_exchange() -> None:
    """K. A. Ross et al., Phys. Rev. X 1, 021002 (2011), eq. (2): J12 of Yb2Ti2O7 with four constants."""
    crystal = Crystal.generate(CUBIC, SpaceGroup.named("F d -3 m:2", CUBIC), [("Yb", (0.5, 0.5, 0.5))])
    # sites 1 and 2 of the paper: (1, 1, 1) and (1, -1, -1) from the centre of a tetrahedron
    centre = np.array([3 / 8, 3 / 8, 3 / 8])
    ends = [centre + np.array(d) / 8 for d in ((1, 1, 1), (1, -1, -1))]
    numbers = [int(np.argmin(np.abs((crystal.positions - e + 0.5) % 1 - 0.5).max(1))) for e in ends]
    cells = [np.round(e - crystal.positions[n]).astype(int) for e, n in zip(ends, numbers, strict=True)]
    form = crystal.bond_form(CrystalBond(*numbers, tuple((cells[1] - cells[0]).tolist())))
    assert len(form.names) == 4
    j1, j2, j3, j4 = 1.0, 2.0, 3.0, 4.0
    published = np.array([[j2, j4, j4], [-j4, j1, j3], [-j4, j3, j1]])
    assert form.allows(published)
    assert_allclose(form.nearest(published), published, atol=1e-12)
    assert not form.allows(published.T + np.diag([0, 1, 0]))


def test_honeycomb_of_edge_sharing_octahedra() -> None:
    """J. G. Rau, E. K.-H. Lee, H.-Y. Kee, Phys. Rev. Lett. 112, 077204 (2014): J, K, Gamma, and Gamma' if trigonal."""
    lattice = Lattice(6, 6, 14, 90, 90, 120)
    crystal = Crystal.generate(lattice, SpaceGroup.named("P -3 1 m", lattice), [("Ru", (1 / 3, 2 / 3, 0))])
    bond = crystal.shells(1)[0].bond
    form = crystal.bond_form(bond)
    assert (len(form.symmetric), len(form.antisymmetric)) == (4, 0)
    # the cubic axes of an octahedron with its threefold axis along c, z across the bond
    along = crystal.vector(bond) @ lattice.direct
    along /= np.linalg.norm(along)
    up = np.array([0, 0, 1.0])
    z = (up + np.sqrt(2) * np.cross(up, along)) / np.sqrt(3)
    turn = lambda angle: (  # noqa: E731
        np.cos(angle) * np.eye(3) + (1 - np.cos(angle)) * np.outer(up, up) + np.sin(angle) * cross_matrix(up).T
    )
    axes = np.array([turn(2 * np.pi / 3) @ z, turn(-2 * np.pi / 3) @ z, z])
    assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    j, k, g, gp = 0.7, -1.9, 0.4, 0.3
    local = np.array([[j, g, gp], [g, j, gp], [gp, gp, j + k]])
    assert form.allows(axes.T @ local @ axes)
    local[0, 2] += 0.1
    assert not form.allows(axes.T @ local @ axes)


def test_kagome_planes() -> None:
    """M. Elhajal, B. Canals and C. Lacroix, Phys. Rev. B 66, 014422 (2002): D along c, or across the bond."""
    flat = Crystal.generate(HEXAGONAL, SpaceGroup.named("P 6/m m m", HEXAGONAL), [("Cu", (0.5, 0, 0))])
    bond = flat.shells(1)[0].bond
    assert flat.bond_form(bond).vector == ["0", "0", "Dz"]
    jarosite = Lattice(7.3, 7.3, 17, 90, 90, 120)
    crystal = Crystal.generate(jarosite, SpaceGroup.named("R -3 m:H", jarosite), [("Fe", (0.5, 0, 0.5))])
    orbit = crystal.shells(1)[0]
    form = crystal.bond_form(orbit.bond)
    assert len(form.antisymmetric) == 2
    along = crystal.vector(orbit.bond) @ jarosite.direct
    assert_allclose(form.antisymmetric @ along, 0, atol=1e-9)


@pytest.mark.parametrize("name", SETTINGS)
def test_site_symmetry_is_that_of_spglib(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Allowed matrices from the operations that spglib finds for the same atoms, without being told the group."""
    special = {"P -1": (0.5, 0, 0), "P 31 2 1": (0.31, 0, 1 / 3), "P 21 3": (0.17, 0.17, 0.17)}
    crystal = make(name, special.get(name, (0, 0, 0)), GENERIC)
    kinds = [int(site[1]) for site in crystal.names]
    cell = (crystal.lattice.direct, crystal.positions, kinds)
    monkeypatch.setattr(spglib.error, "OLD_ERROR_HANDLING", False)
    found = spglib.get_symmetry_dataset(cell, symprec=1e-4)
    assert found.number == crystal.group.number
    assert len(found.rotations) == len(crystal.group)
    columns = crystal.lattice.direct.T
    moved = found.rotations @ crystal.positions[0] + found.translations - crystal.positions[0]
    own = found.rotations[np.abs(moved - np.round(moved)).max(1) < 1e-3]
    assert len(own) == len(crystal.site_rotations(0))
    turns = [columns @ r @ np.linalg.inv(columns) for r in own]
    ours, theirs = crystal.site_form(0), AllowedForm.under(turns, symbol="K")
    assert ours.names == theirs.names
    assert_allclose(ours.basis, theirs.basis, atol=1e-6)


# ---- models made by symmetry -----------------------------------------------------------------------------------------


def couplings(crystal: Crystal, seed: int, reach: float) -> list[tuple[CrystalBond, np.ndarray]]:
    """Random allowed exchange on every orbit up to a distance."""
    random = np.random.default_rng(seed)
    out = []
    for orbit in crystal.orbits_within(reach):
        exchange = crystal.bond_form(orbit.bond).nearest(random.normal(size=(3, 3)))
        out += list(zip(orbit.bonds, orbit.exchange(exchange), strict=True))
    return out


def exchange_spectrum(crystal: Crystal, bonds, q: np.ndarray) -> np.ndarray:
    """Eigenvalues of J_ij(q), 3 n_sites at each q (r.l.u.): they do not depend on where spins point."""
    n = len(crystal)
    out = np.zeros((len(q), n, 3, n, 3), complex)
    for bond, exchange in bonds:
        phase = np.exp(2j * np.pi * q @ crystal.vector(bond))[:, None, None]
        out[:, bond.start, :, bond.end, :] += phase * exchange
        out[:, bond.end, :, bond.start, :] += phase.conj() * exchange.T
    return np.linalg.eigvalsh(out.reshape(len(q), 3 * n, 3 * n))


@pytest.mark.parametrize("name", SETTINGS)
def test_a_model_made_by_symmetry_has_it(name: str) -> None:
    """The same eigenvalues of J(q) at all q that the point group makes of one."""
    special = {"P 31 2 1": (0.31, 0, 1 / 3), "P 21 3": (0.17, 0.17, 0.17)}
    crystal = make(name, special.get(name, (0, 0, 0)))
    reach = crystal.shells(2)[-1].length
    q = np.array([0.13, 0.29, -0.41])
    star = np.array([q @ w for w in crystal.group.rotations])
    levels = exchange_spectrum(crystal, couplings(crystal, 1, reach), star)
    assert_allclose(levels, levels[:1] + 0 * levels, atol=1e-9)
    assert np.ptp(levels) > 0.1


@settings(max_examples=25)
@given(
    name=st.sampled_from(["P -1", "P 1 21/c 1", "B m a b", "P 42/m n m", "R -3 m:H", "P -3 1 m", "F d -3 m:2"]),
    steps=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 2), st.sampled_from([-1, 1])), max_size=3),
    origin=st.tuples(*[st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 0.123])] * 3),
    seed=st.integers(0, 1000),
)
def test_choice_of_cell_and_origin(name, steps, origin, seed) -> None:
    """The same crystal in another cell, from another origin: the same allowed forms and eigenvalues."""
    old = make(name, (0, 0, 0))
    change = np.eye(3, dtype=int)  # columns: the new vectors in terms of the old ones
    for axis, other, sign in steps:
        shear = np.eye(3, dtype=int)
        shear[(axis + other) % 3, axis] = sign
        change = change @ shear
    back = np.round(np.linalg.inv(change)).astype(int)
    rows = change.T @ old.lattice.direct
    lengths = np.linalg.norm(rows, axis=1)
    cosines = [rows[i] @ rows[j] / lengths[i] / lengths[j] for i, j in ((1, 2), (0, 2), (0, 1))]
    lattice = Lattice(*lengths.tolist(), *np.degrees(np.arccos(cosines)).tolist())
    moved = old.group.translations + (old.group.rotations - np.eye(3)) @ np.array(origin)
    group = SpaceGroup("other", 0, back @ old.group.rotations @ change, (moved @ back.T) % 1)
    new = Crystal.generate(lattice, group, [("A0", back @ (old.positions[0] - origin))])
    assert len(new) == len(old)
    turn = lattice.direct.T @ np.linalg.inv(rows.T)  # from the old Cartesian frame to the new one
    assert_allclose(turn @ turn.T, np.eye(3), atol=1e-9)
    number = 2
    pairs = list(zip(old.shells(number), new.shells(number), strict=True))
    q = np.random.default_rng(seed).uniform(-1, 1, (3, 3))
    old_bonds, new_bonds = [], []
    for a, b in pairs:
        assert (a.shell, len(a.bonds)) == (b.shell, len(b.bonds))
        assert a.length == pytest.approx(b.length, abs=1e-9)
    for a in old.shells(number):
        exchange = old.bond_form(a.bond).nearest(np.random.default_rng(seed + a.shell).normal(size=(3, 3)))
        old_bonds += list(zip(a.bonds, a.exchange(exchange), strict=True))
        # the same bond in the new cell
        places = [back @ (old.positions[a.bond.start] - origin)]
        places.append(places[0] + back @ old.vector(a.bond))
        sites = [int(np.argmin(np.abs((new.positions - p + 0.5) % 1 - 0.5).max(1))) for p in places]
        cells = [np.round(p - new.positions[s]).astype(int) for p, s in zip(places, sites, strict=True)]
        image = new.orbit(CrystalBond(*sites, tuple((cells[1] - cells[0]).tolist())))
        turned = turn @ exchange @ turn.T
        assert new.bond_form(image.bond).allows(turned)
        new_bonds += list(zip(image.bonds, image.exchange(turned), strict=True))
    assert_allclose(exchange_spectrum(new, new_bonds, q @ change), exchange_spectrum(old, old_bonds, q), atol=1e-8)


def test_a_bond_read_backwards_is_the_same_bond() -> None:
    crystal = make("F d -3 m:2", (0.5, 0.5, 0.5))
    orbit = crystal.shells(1)[0]
    exchange = crystal.bond_form(orbit.bond).nearest(np.random.default_rng(3).normal(size=(3, 3)))
    back = crystal.orbit(orbit.bond.reversed)
    given = {b: j for b, j in zip(orbit.bonds, orbit.exchange(exchange), strict=True)}
    for bond, j in zip(back.bonds, back.exchange(exchange.T), strict=True):
        expected = given[bond] if bond in given else given[bond.reversed].T
        assert_allclose(j, expected, atol=1e-12)


def test_orbit_of_another_bond_of_it() -> None:
    """Any bond of an orbit may be the one that the exchange is given for."""
    crystal = make("P 42/m n m", (0, 0, 0))
    orbit = crystal.shells(2)[-1]
    exchange = crystal.bond_form(orbit.bond).nearest(np.random.default_rng(3).normal(size=(3, 3)))
    given = {b: j for b, j in zip(orbit.bonds, orbit.exchange(exchange), strict=True)}
    for start in orbit.bonds[1:]:
        again = crystal.orbit(start)
        for bond, j in zip(again.bonds, again.exchange(given[start]), strict=True):
            assert_allclose(j, given[bond] if bond in given else given[bond.reversed].T, atol=1e-12)


# ---- what cannot be --------------------------------------------------------------------------------------------------


def test_groups_that_are_none() -> None:
    cube = Lattice(4, 4, 4)
    with pytest.raises(StudyError, match='there is no space group "P 9"'):
        SpaceGroup.named("P 9", cube)
    with pytest.raises(StudyError, match="there is no space group"):
        SpaceGroup.named(231, cube)
    with pytest.raises(StudyError, match='two choices of origin; write "F d -3 m:1"'):
        SpaceGroup.named(227, cube)
    with pytest.raises(StudyError, match="does not have the symmetry of space group P 42/m n m"):
        SpaceGroup.named("P 42/m n m", Lattice(4, 5, 6)).cartesian(Lattice(4, 5, 6))
    with pytest.raises(StudyError, match="is no symmetry"):
        SpaceGroup.of_operations(["2*x, y, z"])
    with pytest.raises(StudyError, match="is no symmetry operation"):
        SpaceGroup.of_operations(["x, y"])
    assert SpaceGroup.named("R -3 m", HEXAGONAL).name == "R -3 m:H"
    assert SpaceGroup.named("166", Lattice(5, 5, 5, 70, 70, 70)).name == "R -3 m:R"


def test_two_kinds_on_one_site() -> None:
    with pytest.raises(StudyError, match="B at .* sits on A.2"):
        Crystal.generate(CUBIC, SpaceGroup.named("I m -3 m", CUBIC), [("A", (0, 0, 0)), ("B", (0.5, 0.5, 0.5))])


def test_position_to_three_digits_is_moved_onto_its_axis() -> None:
    crystal = Crystal.generate(HEXAGONAL, SpaceGroup.named("P 6/m m m", HEXAGONAL), [("A", (0.333, 0.667, 0))])
    assert len(crystal) == 2
    assert_allclose(crystal.positions[0], (1 / 3, 2 / 3, 0), atol=1e-12)


def test_all_settings_that_are_known_close() -> None:
    """Every fifth setting of the tables: as many operations as they list, all isometries of a fitting lattice."""
    for group in list(gemmi.spacegroup_table_itb())[::5]:
        lattice = lattice_of(group)
        if group.crystal_system_str() == "monoclinic":  # the unique axis may be any
            unique = next(i for i in range(3) if group.qualifier.lstrip("-")[:1] == "abc"[i])
            angles = [90.0, 90.0, 90.0]
            angles[unique] = 103.0
            lattice = Lattice(5.1, 6.3, 7.7, *angles)
        found = SpaceGroup.of_operations(list(group.operations()))
        assert len(found) == len(group.operations())
        if group.crystal_system_str() not in ("tetragonal", "hexagonal", "trigonal"):
            assert found.number == group.number
            turns = found.cartesian(lattice)
            assert_allclose(turns @ turns.swapaxes(1, 2), np.eye(3) + 0 * turns, atol=1e-9)
