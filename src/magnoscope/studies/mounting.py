"""How the crystal and the sample stand in the spectrometer, from their tables."""

import numpy as np

from ..crystal import Lattice, Orientation
from ..errors import InstrumentError, StudyError
from ..instrument import Sample
from .schema import InstrumentTable, OrientationTable
from .sites import Mistake


def build_orientation(table: OrientationTable, lattice: Lattice) -> Orientation:
    """The orientation; u and v must span a plane."""
    orientation = Orientation(
        (table.u[0], table.u[1], table.u[2]),
        (table.v[0], table.v[1], table.v[2]),
        dpsi=table.dpsi,
        gl=table.gl,
        gs=table.gs,
        omega=table.omega,
    )
    try:
        orientation.spectrometer_frame(lattice)
    except StudyError as error:
        raise Mistake(("orientation",), str(error)) from None
    return orientation


def build_sample(table: InstrumentTable, orientation: Orientation, lattice: Lattice) -> Sample:
    """The sample: shape and size, its axes in the mount, and its mosaic."""
    x, y, z = (edge / 1000 for edge in table.sample_size_mm)
    a, b, c = table.mosaic
    try:
        sample = Sample((x, y, z), table.shape, mosaic=(a, b, c))
    except InstrumentError as error:
        raise Mistake(("instrument", "sample_size_mm"), str(error)) from None
    if table.sample_axes is None:
        return sample
    first, second = np.array(table.sample_axes) @ orientation.spectrometer_frame(lattice)
    third = np.cross(first, second)
    if np.linalg.norm(third) < 1e-9 * np.linalg.norm(first) * np.linalg.norm(second):
        raise Mistake(("instrument", "sample_axes"), "the two directions are parallel; they must span a plane")
    axes = np.array([first, np.cross(third, first), third])
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    rows = tuple(tuple(float(value) for value in row) for row in axes)
    return Sample((x, y, z), table.shape, rows, (a, b, c))  # type: ignore[arg-type]
