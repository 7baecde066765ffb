"""What a direct-geometry spectrometer sees of a crystal at any orientation, against vector algebra."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from magnoscope.crystal import Lattice, Orientation
from magnoscope.resolution.kinematics import Scan
from magnoscope.units import wavevector

small = st.integers(-3, 3)
hkl = st.tuples(small, small, small)
angle = st.floats(65, 115)
MAPS_AXES = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], float)


def frame_by_hand(lattice, u, v, psi):
    """The spectrometer frame from scratch: the crystal's reciprocal vectors by cross products, u to x."""
    a, b, c = lattice.direct
    volume = a @ np.cross(b, c)
    star = 2 * np.pi * np.array([np.cross(b, c), np.cross(c, a), np.cross(a, b)]) / volume
    along, other = np.array(u) @ star, np.array(v) @ star
    x = along / np.linalg.norm(along)
    y = other - (other @ x) * x
    y /= np.linalg.norm(y)
    z = np.cross(x, y)
    cos, sin = np.cos(np.radians(psi)), np.sin(np.radians(psi))
    # the lab's axes as the crystal sees them
    lab = np.array([cos * x - sin * y, sin * x + cos * y, z])
    return star @ lab.T


@settings(max_examples=60)
@given(
    u=hkl,
    v=hkl,
    axes=st.tuples(hkl, hkl, hkl),
    psi=st.floats(-180, 180),
    angles=st.tuples(angle, angle, angle),
    ei=st.floats(10, 500),
    share=st.floats(-0.5, 0.95),
    place=st.tuples(st.floats(-1, 1), st.floats(-1, 1)),
)
def test_any_crystal_in_any_orientation(u, v, axes, psi, angles, ei, share, place):
    lattice = Lattice(4, 6, 9, *angles)
    star = lattice.reciprocal
    assume(np.linalg.norm(np.cross(np.array(u) @ star, np.array(v) @ star)) > 0.3)
    directions = np.array(axes, float)
    assume(abs(np.linalg.det(directions)) > 0.5)
    frame = Orientation(u, v).spectrometer_frame(lattice, psi)
    by_hand = frame_by_hand(lattice, u, v, psi)
    assert_allclose(frame, by_hand, atol=1e-9)
    scan, energy = Scan(ei, frame, directions), share * ei
    one, other = scan.q_spectrometer(*place, energy), scan.other_root(*place, energy)
    k_i, k_f = np.array([wavevector(ei), 0, 0]), float(wavevector(ei - energy))
    hidden, offset = directions[2] @ by_hand, (place[0] * directions[0] + place[1] * directions[1]) @ by_hand
    # the line offset + l hidden meets the sphere of radius k_f about k_i where its distance from k_i allows
    unit = hidden / np.linalg.norm(hidden)
    distance = np.linalg.norm((k_i - offset) - ((k_i - offset) @ unit) * unit)
    if distance > k_f * (1 + 1e-9):
        assert np.isnan(one).all()
        assert np.isnan(other).all()
        return
    assume(distance < k_f * (1 - 1e-6))
    for q in (one, other):
        assert np.linalg.norm(k_i - q) == pytest.approx(k_f, rel=1e-9)
        assert_allclose(np.cross(q - offset, unit), 0, atol=1e-8)
        # as the crystal counts: a whole hkl
        index = np.linalg.solve(by_hand.T, q)
        assert_allclose(np.linalg.solve(directions.T, index)[:2], place, atol=1e-8)
    assert np.linalg.norm(one - other) > 0
    # of the two, the smaller scattering angle
    assert (k_i - one)[0] >= (k_i - other)[0] - 1e-9


def test_hidden_direction_against_the_beam():
    # the same map whether l points along the beam or against it
    lattice = Lattice(5, 5, 12)
    frame = Orientation((0, 0, 1), (1, 0, 0)).spectrometer_frame(lattice)
    along = Scan(60, frame, MAPS_AXES)
    against = Scan(60, frame, MAPS_AXES * [[1], [1], [-1]])
    assert_allclose(along.q_spectrometer(0.3, 0.4, 20), against.q_spectrometer(0.3, 0.4, 20), atol=1e-12)
    back = along.other_root(0.3, 0.4, 20)
    assert back[0] > wavevector(60)


def test_hidden_direction_upwards():
    # h and k in the horizontal plane: l and -l are seen at the same angle, above and below
    frame = Orientation((1, 0, 0), (0, 1, 0)).spectrometer_frame(Lattice(5, 5, 12), psi=20)
    scan = Scan(60, frame, MAPS_AXES)
    one, other = scan.q_spectrometer(1.2, 0.3, 20), scan.other_root(1.2, 0.3, 20)
    assert_allclose(one * [1, 1, -1], other, atol=1e-9)
    assert one[2] < 0  # k_f points up, along l
