"""The resolution at one point of a study's view, in the view's own axes."""

import numpy as np
from numpy.typing import NDArray

from ..errors import InstrumentError
from ..study import Study
from ..views import PathView
from .deviations import covariance
from .path_spread import SIDES, segment_covariance
from .setting import detected, run_rotation, run_setting, segment_axes

NEAR = 1e-3
"""How far (1/Å) a point may lie from the path it is said to be on."""


def shown_covariance(
    study: Study, run: int, q: NDArray[np.float64], energy: float
) -> tuple[list[str], list[str], NDArray[np.float64]]:
    """Covariance of what a view shows, the rest integrated out, without the intrinsic width of modes.

    Parameters
    ----------
    q : (2,) or (3,)
        On the two axes of maps, or h, k, l of a point of the path; r.l.u.

    Returns
    -------
    names, units
        Of the axes: two of Q and energy, or along the path and energy.
    covariance : (n, n)

    Raises
    ------
    InstrumentError
        If the point is out of reach, or not on the path.
    """
    ei = study.runs[run].ei
    shown = ", ".join(f"{x:g}" for x in q)
    lost = InstrumentError(f"q = ({shown}) at {energy:g} meV is out of reach with Ei = {ei:g} meV; choose another q")
    if isinstance(study.view, PathView):
        rotation, axes = run_rotation(study, run), segment_axes(study, _segment_of(study, q))
        at = np.array([energy])
        found = []
        for side in SIDES:
            point = rotation.q_spectrometer(q[None], at, side)
            if detected(study, run, point).all():
                found.append(segment_covariance(study, run, axes, q[None], point, at)[0])
        if not found:
            raise lost
        return ["along the path", "energy"], ["1/Å", "meV"], np.mean(found, 0)[np.ix_([0, 3], [0, 3])]
    setting, scan = run_setting(study, run)
    point = scan.q_spectrometer(q[:1], q[1:], [energy])
    if not np.isfinite(point).all():
        raise lost
    to_view = np.eye(4)
    to_view[:3, :3] = np.linalg.inv(scan.view).T
    whole = to_view @ covariance(setting, point, np.array([energy]))[0] @ to_view.T
    names = [axis.name for axis in study.maps.axes]
    return [*names, "energy"], ["r.l.u.", "r.l.u.", "meV"], whole[np.ix_([0, 1, 3], [0, 1, 3])]


def _segment_of(study: Study, q: NDArray[np.float64]) -> int:
    """The segment a point (r.l.u.) lies on."""
    place, distances = study.lattice.to_cartesian(q), []
    for segment in study.path.segments:
        start, end = (study.lattice.to_cartesian(p) for p in (segment.start, segment.end))
        share = np.clip((place - start) @ (end - start) / segment.length**2, 0, 1)
        distances.append(np.linalg.norm(place - start - share * (end - start)))
    nearest = int(np.argmin(distances))
    if distances[nearest] > NEAR:
        shown = ", ".join(f"{x:g}" for x in q)
        raise InstrumentError(f"q = ({shown}) lies {distances[nearest]:.3g} 1/Å beside the path; give a point on it")
    return nearest
