"""What several tests share: the worked study, the measurement, and small spin models."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

from magnoscope.hamiltonian import Bond, Site, SpinModel
from magnoscope.simulate import Simulator
from magnoscope.studies import load_study
from magnoscope.study import Study

# the same examples every time: a failure can be run again
settings.register_profile("magnoscope", deadline=None, derandomize=True)
settings.load_profile("magnoscope")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    # batches of small eigenproblems: more threads only make them slower
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def pcsmo() -> Study:
    return load_study("pcsmo")


@pytest.fixture(scope="session")
def pcsmo_simulator(pcsmo: Study) -> Simulator:
    return Simulator(pcsmo)


@pytest.fixture(scope="session")
def striped_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny study in a magnetic cell of two: random magnets of it are antiferromagnetic stripes."""
    text = (Path(__file__).parent / "cli" / "square.toml").read_text("utf-8")
    for old, new in (
        ("[[sites]]", "[magnetic_cell]\nsupercell = [2, 1, 1]\n\n[[sites]]"),
        ("positions = [[0, 0, 0]]", "positions = [[0, 0, 0], [0.5, 0, 0]]"),
        ("vectors = [[1, 0, 0], [0, 1, 0]]", "vectors = [[0.5, 0, 0], [0, 1, 0]]"),
        ("vectors = [[1, 1, 0], [1, -1, 0]]", "vectors = [[0.5, 1, 0], [0.5, -1, 0]]"),
    ):
        assert old in text
        text = text.replace(old, new)
    path = tmp_path_factory.mktemp("striped") / "striped.toml"
    path.write_text(text, "utf-8")
    return path


@pytest.fixture(scope="session")
def striped(striped_file: Path) -> Study:
    return load_study(striped_file)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the measurement: MAGNOSCOPE_DATA, or shared/data beside the repository."""
    folder = Path(os.environ.get("MAGNOSCOPE_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not (folder / "pcsmo" / "measured.npy").is_file():
        pytest.skip(f"no measurement in {folder}; set MAGNOSCOPE_DATA")
    return folder


@pytest.fixture(scope="session")
def make_model() -> Callable[..., SpinModel]:
    """Builder of a spin model without parameters.

    ``make_model(lattice, sites, bonds)`` with sites as (position, moment) and bonds as (start, end, vector, J), J a
    number or a 3 x 3 matrix, meV; every bond is given once.
    """

    def build(lattice, sites, bonds, spin=1.0, anisotropy=None, supercell=(1, 1, 1)) -> SpinModel:
        single = np.zeros((len(sites), 1, 3, 3))
        if anisotropy is not None:
            single[:] = anisotropy
        return SpinModel(
            "test",
            (),
            tuple(Site(f"a.{i}", "Mn3+", spin, tuple(m), tuple(p)) for i, (p, m) in enumerate(sites)),
            tuple(
                Bond(i, j, tuple(d), np.array([J * np.eye(3) if np.ndim(J) == 0 else J], float)) for i, j, d, J in bonds
            ),
            single,
            lattice,
            supercell,
        )

    return build
