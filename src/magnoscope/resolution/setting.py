"""The spectrometer as one run of a study used it."""

import numpy as np

from ..study import Study
from .deviations import Setting
from .kinematics import Scan


def run_setting(study: Study, number: int) -> tuple[Setting, Scan]:
    """The spectrometer of a study's run, and how the crystal stood in it."""
    run = study.runs[number]
    axes = np.array([*(a.direction for a in study.view.axes), study.view.hidden_direction], float)
    scan = Scan(run.ei, study.orientation.spectrometer_frame(study.lattice, run.psi), axes)
    setting = Setting(
        study.spectrometer, study.sample, study.package, run.ei, run.frequency, run.energy_bin, sample_turn=run.psi
    )
    return setting, scan
