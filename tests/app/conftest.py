"""The page without a server: work is done at once. A tiny study, and weights that have learned nothing."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magnoscope.io.images import write_spectrum
from magnoscope.networks.kinds import new_network
from magnoscope.simulate import Simulator
from magnoscope.spectrum import counted
from magnoscope.studies import load_study
from magnoscope.trust.calibration import Calibration
from magnoscope.trust.weights import Weights, save_weights

collect_ignore_glob = [] if find_spec("panel") or os.environ.get("CI") else ["test_*.py"]
"""Panel is an extra; continuous integration has it."""

SQUARE = Path(__file__).parents[1] / "cli" / "square.toml"


@pytest.fixture(scope="session")
def counts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Counts of the last candidate, with errors."""
    study = load_study(SQUARE)
    path = tmp_path_factory.mktemp("counts") / "counts.h5"
    write_spectrum(counted(Simulator(study)("far"), 30, 1), path)
    return path


@pytest.fixture(scope="session")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = load_study(SQUARE)
    network = new_network(study, "compact", 3, 16).eval()
    n = network.n_features
    calibration = Calibration(2.0, 0.1, 0.9, np.zeros((2, n)), np.eye(n), np.ones((20, 2)))
    card = {"kind": "compact", "width": 16, "seed": 3, "study": "square", "classes": list(study.classes)}
    card |= {"layout_hash": study.layout_hash, "physics_hash": study.physics_hash}
    path = tmp_path_factory.mktemp("weights") / "square.safetensors"
    save_weights(Weights(network, calibration, card), path)
    return path


@pytest.fixture
def service(weights_file: Path, counts: Path) -> Any:
    from magnoscope.app.service import Service

    return Service(load_study(SQUARE), str(SQUARE), weights_file, (counts, None), 1)
