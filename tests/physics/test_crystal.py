"""Lattices, and how a crystal stands in the spectrometer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from magnoscope.crystal import Lattice, Orientation
from magnoscope.errors import StudyError
from magnoscope.resolution.setting import run_setting

length, angle = st.floats(2, 20), st.floats(65, 115)


@settings(max_examples=25)
@given(a=length, b=length, c=length, alpha=angle, beta=angle, gamma=angle)
def test_cell_has_its_lengths_and_angles(a, b, c, alpha, beta, gamma):
    lattice = Lattice(a, b, c, alpha, beta, gamma)
    lengths = np.linalg.norm(lattice.direct, axis=1)
    assert_allclose(lengths, (a, b, c), rtol=1e-12)
    unit = lattice.direct / lengths[:, None]
    cosines = [unit[1] @ unit[2], unit[2] @ unit[0], unit[0] @ unit[1]]
    assert_allclose(cosines, np.cos(np.radians([alpha, beta, gamma])), atol=1e-12)
    assert_allclose(lattice.reciprocal @ lattice.direct.T, 2 * np.pi * np.eye(3), atol=1e-9)


def test_angles_that_close_no_cell():
    with pytest.raises(StudyError, match="do not close a cell"):
        _ = Lattice(3, 3, 3, 60, 60, 130).direct


@settings(max_examples=25)
@given(psi=st.floats(-180, 180), alpha=angle, beta=angle, gamma=angle)
def test_frame_puts_u_along_the_beam_and_v_in_the_plane(psi, alpha, beta, gamma):
    lattice = Lattice(3, 5, 7, alpha, beta, gamma)
    u, v = (1, 0, 2), (0, 1, 1)
    still = Orientation(u, v).spectrometer_frame(lattice)
    along, sideways = np.array(u) @ still, np.array(v) @ still
    assert_allclose(along[1:], 0, atol=1e-9)
    assert along[0] > 0
    assert sideways[1] > 0
    assert sideways[2] == pytest.approx(0, abs=1e-9)
    # a rigid turn about the vertical, from x towards y
    turned = Orientation(u, v).spectrometer_frame(lattice, psi)
    assert_allclose(turned @ turned.T, lattice.reciprocal @ lattice.reciprocal.T, atol=1e-9)
    cos, sin = np.cos(np.radians(psi)), np.sin(np.radians(psi))
    assert_allclose(np.array(u) @ turned, along[0] * np.array([cos, sin, 0]), atol=1e-9)


def test_axes_of_the_worked_study(pcsmo):
    # beam along c, a horizontal: b is up
    _, scan = run_setting(pcsmo, 2)
    q = scan.q_spectrometer(0.3, -0.7, 12.0)
    assert q[1] == pytest.approx(2 * np.pi * 0.3 / 5.408, rel=1e-12)
    assert q[2] == pytest.approx(-2 * np.pi * 0.7 / 5.4599, rel=1e-12)
    assert q[0] > 0


def test_misalignment_of_the_goniometer():
    # about the vertical dpsi adds to psi; the small arc turns about the axis at omega from u
    lattice = Lattice(3, 5, 7, 80, 95, 110)
    u, v = (1, 0, 2), (0, 1, 1)
    turned = Orientation(u, v, dpsi=4.0).spectrometer_frame(lattice, 20)
    assert_allclose(turned, Orientation(u, v).spectrometer_frame(lattice, 24), atol=1e-12)
    still = Orientation(u, v).spectrometer_frame(lattice)
    along = np.array(u) @ still
    gs = np.array(u) @ Orientation(u, v, gs=5.0).spectrometer_frame(lattice)
    assert_allclose(gs, along, atol=1e-12)
    # the large arc turns about y: what points along the beam goes down
    gl = np.array(u) @ Orientation(u, v, gl=5.0).spectrometer_frame(lattice)
    assert_allclose(gl, along[0] * np.array([np.cos(np.radians(5)), 0, -np.sin(np.radians(5))]), atol=1e-12)
    # with omega at a right angle the arcs change places
    swapped = Orientation(u, v, gs=5.0, omega=90.0).spectrometer_frame(lattice)
    assert_allclose(swapped, Orientation(u, v, gl=5.0).spectrometer_frame(lattice), atol=1e-12)
