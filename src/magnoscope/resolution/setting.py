"""The spectrometer as one run of a study used it, and what each pixel of the study's view is there."""

import numpy as np
import torch
from numpy.typing import NDArray

from ..instrument import Bank, Coverage
from ..study import Study
from ..units import wavevector
from ..views import PathView
from .deviations import Setting
from .kinematics import Rotation, Scan


def setting_of(study: Study, number: int, psi: float | None = None) -> Setting:
    """The spectrometer of a study's run, the crystal turned by the run's psi (degrees) unless another is given."""
    run = study.runs[number]
    turn = run.psi if psi is None else psi
    return Setting(
        study.spectrometer, study.sample, study.package, run.ei, run.frequency, run.energy_bin, sample_turn=turn
    )


def run_setting(study: Study, number: int) -> tuple[Setting, Scan]:
    """The spectrometer of a run of a study of maps, and how the crystal stood in it."""
    run = study.runs[number]
    axes = np.array([*(a.direction for a in study.maps.axes), study.maps.hidden_direction], float)
    scan = Scan(run.ei, study.orientation.spectrometer_frame(study.lattice, run.psi), axes)
    return setting_of(study, number), scan


def run_rotation(study: Study, number: int) -> Rotation:
    """How the crystal turns in a run of a study of a path."""
    run = study.runs[number]
    return Rotation(run.ei, study.orientation.spectrometer_frame(study.lattice, run.psi))


def pixel_wave_vectors(study: Study, number: int, energies: NDArray[np.float64]) -> NDArray[np.float64]:
    """Wave vector of every pixel of a run at energy transfers, (energies, axis 0, axis 1, 3); NaN out of reach.

    In the spectrometer frame, 1/Å. Of a path, to the side that detectors cover further, or the only one that sees it.
    """
    view = study.view
    if isinstance(view, PathView):
        rotation, at = run_rotation(study, number), np.asarray(energies, float)[:, None, None]
        # neutrons that lose Q towards +y go to negative angles
        near = 1 if view.detectors is None or -view.detectors[0][0] >= view.detectors[0][1] else -1
        one, other = (rotation.q_spectrometer(view.centres[:, None], at, side) for side in (near, -near))
        one, other = (np.where(detected(study, number, q)[..., None], q, np.nan) for q in (one, other))
        return np.where(np.isfinite(one), one, other)
    _, scan = run_setting(study, number)
    x, y = np.meshgrid(*(a.centres for a in study.maps.axes), indexing="ij")
    return scan.q_spectrometer(x, y, np.asarray(energies)[:, None, None])


def hidden_coordinates(study: Study, number: int, energies: NDArray[np.float64]) -> NDArray[np.float64]:
    """What kinematics leaves no choice of, at every pixel: (energies, axis 0, axis 1).

    Of a map, the coordinate along its hidden direction (r.l.u.); of a path, psi (degrees).
    """
    view = study.view
    if isinstance(view, PathView):
        q = pixel_wave_vectors(study, number, energies)
        return run_rotation(study, number).turn(view.centres[:, None], q) + study.runs[number].psi
    _, scan = run_setting(study, number)
    x, y = (torch.as_tensor(a) for a in np.meshgrid(*(a.centres for a in study.maps.axes), indexing="ij"))
    return np.stack([scan.hidden(x, y, torch.as_tensor(e)).numpy() for e in np.asarray(energies)])


def detected(study: Study, number: int, q: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether the study's detectors see neutrons that lose Q (..., 3; spectrometer frame, 1/Å); not where it is NaN."""
    limits = study.path.detectors
    k_f = np.array([wavevector(study.runs[number].ei), 0.0, 0.0]) - q
    seen = np.asarray(np.isfinite(q).all(-1))
    if limits is not None:
        seen = seen & Coverage((Bank(*limits),)).sees(k_f)
    if study.coverage and study.spectrometer.coverage is not None:
        seen = seen & study.spectrometer.coverage.sees(k_f)
    return seen


def segment_axes(study: Study, number: int) -> NDArray[np.float64]:
    """Unit vectors along a segment of the path, across it and along its normal: (3, 3) rows, crystal Cartesian."""
    segment = study.path.segments[number]
    along = study.lattice.to_cartesian(np.subtract(segment.end, segment.start))
    normal = study.lattice.to_cartesian(study.path.normal)
    along = along / np.linalg.norm(along)
    normal = normal - (normal @ along) * along
    normal = normal / np.linalg.norm(normal)
    return np.stack([along, np.cross(normal, along), normal])
