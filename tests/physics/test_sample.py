"""Shapes of samples, how they lie in the spectrometer, and the mosaic: against brute force."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from scipy.spatial.transform import Rotation

from magnoscope.crystal import Lattice, Orientation
from magnoscope.errors import InstrumentError
from magnoscope.instrument import Sample, load_spectrometer
from magnoscope.resolution.deviations import NAMES, Setting, covariance, dimensions, linear_map, true_deviations
from magnoscope.studies.mounting import build_sample
from magnoscope.studies.schema import InstrumentTable
from magnoscope.units import FWHM_PER_SIGMA

SHAPES = {"cuboid": (0.01, 0.02, 0.05), "plate": (0.001, 0.03, 0.03), "cylinder": (0.01, 0.01, 0.04)}
SHAPES |= {"sphere": (0.02,) * 3}


def cube(dimension, exponent=16, seed=4):
    return np.clip(stats.qmc.Sobol(dimension, seed=seed).random_base2(exponent), 1e-9, 1 - 1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_points_fill_the_shape_evenly(shape):
    sample = Sample(SHAPES[shape], shape)
    points = sample.points(cube(3))
    assert_allclose(np.cov(points.T), np.diag(sample.variances), atol=3e-5)
    assert np.abs(points).max() <= 0.5
    radius = np.linalg.norm(points[:, : {"cylinder": 2, "sphere": 3}.get(shape, 1)], axis=1)
    assert radius.max() <= 0.5 + 1e-9
    # a box inside the shape holds the share of its volume
    volume = {"cylinder": np.pi / 4, "sphere": np.pi / 6}.get(shape, 1.0)
    inside = (np.abs(points - [0.05, -0.1, 0.02]) < 0.1).all(1)
    assert inside.mean() == pytest.approx(0.2**3 / volume, rel=0.02)


def test_shapes_must_be_round():
    with pytest.raises(InstrumentError, match="a cylinder has the same diameter in 2 directions"):
        Sample((0.01, 0.02, 0.03), "cylinder")
    with pytest.raises(InstrumentError, match="a sphere has the same diameter in 3"):
        Sample((0.01, 0.01, 0.03), "sphere")
    with pytest.raises(InstrumentError, match="no shape cube"):
        Sample((0.01,) * 3, "cube")


def test_sample_axes_follow_the_crystal():
    # a long edge along c, a short one along a: wherever u, v and psi put them
    lattice, psi = Lattice(4, 5, 7, 90, 100, 90), 37.0
    orientation = Orientation((1, 1, 0), (0, 0, 1), gl=3.0)
    frame = orientation.spectrometer_frame(lattice, psi)
    table = InstrumentTable(
        preset="maps-v1", package="S", sample_size_mm=[10, 20, 50], sample_axes=[[0, 0, 1], [1, 0, 0]]
    )
    setting = Setting(
        load_spectrometer("maps-v1"), build_sample(table, orientation, lattice), "S", 50, 200, sample_turn=psi
    )
    edges = setting.sample_axes()
    assert_allclose(np.linalg.norm(edges, axis=1), (0.01, 0.02, 0.05), rtol=1e-12)
    c, a = (np.array(hkl) @ frame for hkl in ((0, 0, 1), (1, 0, 0)))
    assert_allclose(np.cross(edges[0], c), 0, atol=1e-12)
    assert edges[0] @ c > 0
    assert_allclose(np.linalg.det(np.array([edges[0], edges[1], a])), 0, atol=1e-12)
    assert edges[1] @ a > 0
    assert_allclose(np.cross(edges[0], edges[1]) @ edges[2], 0.01 * 0.02 * 0.05, rtol=1e-12)


def setting_with(sample, turn=0.0):
    return Setting(load_spectrometer("maps-v1"), sample, "S", 70, 250, energy_bin=0.35, sample_turn=turn)


POINT = np.array([[0.9, 1.4, -0.6]]), np.array([18.0])


def test_no_mosaic_leaves_the_eleven_deviations():
    setting = setting_with(Sample((0.01,) * 3))
    assert setting.names == NAMES
    assert linear_map(setting, *POINT).shape == (1, 4, 11)


@pytest.mark.parametrize("mosaic", [(1.0, 1.0, 1.0), (0.4, 1.5, 0.8)])
def test_mosaic_is_a_rotation_of_the_crystal(mosaic):
    # brute force: the crystal's Q seen by crystallites turned about the mount's axes, which stand at psi
    turn, fwhm = 25.0, np.array(mosaic)
    still, turned = (setting_with(Sample((0.01,) * 3, mosaic=m), turn) for m in ((0, 0, 0), mosaic))
    extra = covariance(turned, *POINT)[0] - covariance(still, *POINT)[0]
    vectors = stats.norm.ppf(cube(3, 17)) * np.radians(fwhm) / FWHM_PER_SIGMA
    axes = Rotation.from_euler("z", turn, degrees=True).apply(np.eye(3))
    seen = Rotation.from_rotvec(vectors @ axes).apply(POINT[0][0])
    assert_allclose(extra[:3, :3], np.cov(seen.T), atol=2e-3 * np.abs(extra).max())
    assert_allclose(extra[3], 0, atol=1e-15)
    if len(set(mosaic)) == 1:
        # isotropic: across Q only, by the same angle in any direction
        q = POINT[0][0]
        assert_allclose(extra[:3, :3] @ q, 0, atol=1e-12)
        angle = np.radians(mosaic[0]) / FWHM_PER_SIGMA
        assert_allclose(np.trace(extra[:3, :3]), 2 * q @ q * angle**2, rtol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_draws_have_the_covariance(shape):
    setting = setting_with(Sample(SHAPES[shape], shape, mosaic=(0.5, 1.0, 0.7)), turn=-40.0)
    u = cube(dimensions(setting), 17)
    shift = true_deviations(setting, u) @ linear_map(setting, *POINT)[0].T
    expected = covariance(setting, *POINT)[0]
    found = np.cov(shift.T)
    assert_allclose(np.sqrt(np.diag(found) / np.diag(expected)), 1, atol=0.002)
    size = np.sqrt(np.diag(expected))
    assert_allclose(found / np.outer(size, size), expected / np.outer(size, size), atol=0.004)
