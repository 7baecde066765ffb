"""What we write, against what Mantid's and Horace's own readers demand, read off their sources.

Neither program can be installed from a package index. So each demand of their source is a line here, with the file it
stands in, and what we write is walked against them: groups by NeXus class, types (Mantid's NeXus layer converts none),
shapes, attributes. The same lines must hold for the files that Mantid wrote, or the line would be wrong.

Mantid: https://github.com/mantidproject/mantid, LoadMD.cpp and what it calls, at commit 01000da; LoadNXSPE.cpp at
00d8ab5. Horace: https://github.com/pace-neutrons/Horace.
"""

from pathlib import Path

import h5py
import numpy as np
import pytest

from magnoscope.instrument import load_spectrometer, presets
from magnoscope.io.mdhisto_write import write_mdhisto
from magnoscope.io.nxspe import write_nxspe
from magnoscope.spectrum import Spectrum
from magnoscope.study import Study

MANTID_INSTRUMENTS = {"ARCS", "CNCS", "HYSPEC", "SEQUOIA", "LET", "MAPS", "MARI", "MERLIN", "HET"}
"""Direct-geometry instruments of instrument/Facilities.xml."""


def group(parent: h5py.Group, name: str, kind: str) -> h5py.Group:
    """File::openGroup(name, class): the class must be the one asked for."""
    found = parent[name]
    assert isinstance(found, h5py.Group)
    assert text_attribute(found, "NX_class") == kind
    return found


def text_attribute(item: h5py.Group | h5py.Dataset, name: str) -> str:
    """File::getAttr(name, std::string): of characters, one string."""
    attribute = h5py.h5a.open(item.id, name.encode())
    assert attribute.shape in ((), (1,)) and attribute.get_type().get_class() == h5py.h5t.STRING
    value = item.attrs[name]
    value = value[0] if isinstance(value, np.ndarray) else value
    return value.decode() if isinstance(value, bytes) else value


def integer_attribute(item: h5py.Group | h5py.Dataset, name: str) -> int:
    """File::getAttr<int>: NexusFile.cpp refuses another type than the one asked for."""
    assert h5py.h5a.open(item.id, name.encode()).dtype == np.int32
    return int(item.attrs[name])


def numbers(parent: h5py.Group, name: str, kind: type, count: int | None = None) -> np.ndarray:
    """File::getData(std::vector<T>): NexusFile.cpp refuses another type than the one asked for."""
    data = parent[name]
    assert isinstance(data, h5py.Dataset) and data.dtype == kind, name
    assert count is None or data.size == count, name
    return data[()]


def text(parent: h5py.Group, name: str) -> str:
    """File::getStrData: characters of rank 1, which is what NeXus makes of a string in an array of one."""
    data = parent[name]
    assert data.shape == (1,) and data.dtype.kind == "S"
    return data[0].decode()


def check_histogram(file: h5py.File) -> h5py.Group:
    """Demands of LoadMD.cpp on the workspace itself; returns its entry."""
    # confidence(): the first entry is an NXentry, of the one name
    assert list(file) == ["MDHistoWorkspace"]
    entry = group(file, "MDHistoWorkspace", "NXentry")
    # exec(): version 2, else dimensions are sought in XML
    assert integer_attribute(entry, "SaveMDVersion") == 2
    # loadQConvention(): another than the preferences' turns the axes' signs
    assert text_attribute(entry, "QConvention") in ("Inelastic", "Crystallography")
    data = group(entry, "data", "NXdata")
    # loadDimensions2(): the axes, slowest first, each with name, unit and frame, evenly divided between its ends
    axes = text_attribute(data["signal"], "axes").split(":")
    assert axes == ["D3", "D2", "D1", "D0"]
    shape = []
    for name in axes:
        edges = numbers(data, name, np.float64)
        shape.append(len(edges) - 1)
        np.testing.assert_allclose(np.diff(edges), (edges[-1] - edges[0]) / shape[-1], rtol=1e-5)
        label, unit, frame = (text_attribute(data[name], a) for a in ("long_name", "units", "frame"))
        if frame == "HKL":
            # HKLFrameFactory (MDFrameFactory.cpp): r.l.u. or 1/Angstrom; qDimensions(): names of Q begin with "["
            assert unit == "r.l.u." and label.startswith("[")
        else:
            assert frame == "General Frame" and (label, unit) == ("DeltaE", "DeltaE")
    # loadSlab(): types, and as many points as the axes have bins; getSlab runs through the last axis first
    for name, kind in (
        ("signal", np.float64),
        ("errors_squared", np.float64),
        ("num_events", np.float64),
        ("mask", np.int8),
    ):
        assert numbers(data, name, kind).shape == tuple(shape)
    return entry


def check_experiment(entry: h5py.Group) -> None:
    """Demands of MDBoxFlatTree::loadExperimentInfos and what it calls; a failure there loses lattice and Ei."""
    experiment = group(entry, "experiment0", "NXgroup")
    # Sample::loadNexus (Sample.cpp)
    sample = group(experiment, "sample", "NXsample")
    assert integer_attribute(sample, "version") == 1
    assert text_attribute(sample, "name") and not text_attribute(sample, "shape_xml").strip()
    # Material::loadNexus (Material.cpp)
    material = group(sample, "material", "NXdata")
    assert text_attribute(material, "name") is not None
    assert integer_attribute(material, "version") == 2 and text_attribute(material, "formulaStyle") == "empty"
    for name in ("number_density", "packing_fraction", "temperature", "pressure"):
        numbers(material, name, np.float64, 1)
    assert numbers(sample, "num_other_samples", np.int32, 1) == 0
    assert numbers(sample, "num_oriented_lattice", np.int32, 1) == 1
    numbers(sample, "geom_id", np.int32, 1)
    for name in ("geom_thickness", "geom_height", "geom_width"):
        numbers(sample, name, np.float64, 1)
    # LogManager::loadNexus, PropertyNexus.cpp: groups NXlog with a value; without a time it is one number
    logs = group(experiment, "logs", "NXgroup")
    for name in logs:
        log = group(logs, name, "NXlog")
        assert "time" not in log
        numbers(log, "value", np.float64, 1)
        text_attribute(log["value"], "units")
    # ExperimentInfo::loadInstrumentInfoNexus: by its name the definition is found (Facilities.xml)
    assert text(group(experiment, "instrument", "NXinstrument"), "name") in MANTID_INSTRUMENTS


def check_lattice(entry: h5py.Group, study: Study) -> None:
    """OrientedLattice::loadNexus: nine numbers UB; setUB() finds the lattice in it."""
    lattice = group(entry["experiment0/sample"], "oriented_lattice", "NXcrystal")
    ub = numbers(lattice, "orientation_matrix", np.float64, 9)
    assert abs(np.linalg.det(ub)) > 1e-10
    # B^T B is the reciprocal metric, by which setUB() goes; lengths and angles must be those that stand beside it
    direct = np.linalg.inv(ub.T @ ub)
    lengths = np.sqrt(np.diag(direct))
    np.testing.assert_allclose(lengths, [lattice[f"unit_cell_{n}"][0] for n in "abc"], rtol=1e-6)
    np.testing.assert_allclose(lengths, [study.lattice.a, study.lattice.b, study.lattice.c], rtol=1e-6)
    # getuVector(), getvVector(): along z, the beam, and along x, in the horizontal plane
    inverse = np.linalg.inv(ub)
    for got, expected in ((inverse[:, 2], study.orientation.u), (inverse[:, 0], study.orientation.v)):
        np.testing.assert_allclose(np.cross(got, np.asarray(expected, float)), 0, atol=1e-6 * np.linalg.norm(got))
        assert got @ np.asarray(expected, float) > 0
    assert np.linalg.det(ub) > 0


@pytest.fixture
def written(pcsmo: Study, tmp_path: Path) -> Path:
    """A run of a study as an MDHistoWorkspace."""
    rng = np.random.default_rng(3)
    valid = rng.random(pcsmo.shape) > 0.3
    signal = np.where(valid, rng.exponential(1, pcsmo.shape), np.nan)
    write_mdhisto(Spectrum(pcsmo, signal, valid, np.where(valid, 0.2, np.nan)), 3, tmp_path / "run.nxs")
    return tmp_path / "run.nxs"


def test_a_histogram_that_load_md_takes(written: Path, pcsmo: Study) -> None:
    with h5py.File(written) as file:
        entry = check_histogram(file)
        check_experiment(entry)
        check_lattice(entry, pcsmo)
        # SpecialCoordinateSystem.h, IMDWorkspace.h; read as uint32
        assert numbers(entry, "coordinate_system", np.uint32, 1) == 3
        assert numbers(entry, "visual_normalization", np.uint32, 1) == 0
        assert text_attribute(entry, "QConvention") == "Inelastic"


def test_the_same_demands_hold_for_what_mantid_wrote(shared_data: Path, written: Path) -> None:
    """And item by item: every item of Mantid's file is in ours, of its class, type, rank and attributes."""
    with h5py.File(shared_data / "formats" / "mdhisto_1dcut.nxs") as theirs, h5py.File(written) as ours:
        check_histogram(theirs)
        items: list[str] = []
        theirs.visit(items.append)
        assert len(items) == 10
        for name in items:
            one, other = theirs[name], ours[name]
            assert type(one) is type(other) and set(one.attrs) == set(other.attrs), name
            for attribute in one.attrs:
                kinds = [h5py.h5a.open(i.id, attribute.encode()) for i in (one, other)]
                assert kinds[0].get_type().get_class() == kinds[1].get_type().get_class()
                assert kinds[0].shape == kinds[1].shape, (name, attribute)
            if isinstance(one, h5py.Dataset):
                assert one.dtype == other.dtype and one.ndim == other.ndim, name


def test_mantid_knows_the_instruments_of_the_presets() -> None:
    for name in presets():
        assert load_spectrometer(name).name.split()[0].upper() in MANTID_INSTRUMENTS


# ---- NXSPE ---------------------------------------------------------------------------------------------------------


def check_nxspe(file: h5py.File) -> None:
    """Demands of LoadNXSPE.cpp and of Horace's find_root_nexus_dir.m, loader_nxspe.m and the loader of its angles."""
    # both take the first entry, Horace by its first attribute, and only if there is one such entry
    assert len(file) == 1
    (name,) = file
    entry = group(file, name, "NXentry")
    assert list(entry.attrs) == ["NX_class"]
    assert text(entry, "definition") == "NXSPE" and list(entry["definition"].attrs) == ["version"]
    version = text_attribute(entry["definition"], "version")
    # get_nxspe_file_info: other versions are errors
    assert version in ("1.0", "1.1", "1.2")
    info = group(entry, "NXSPE_info", "NXcollection")
    assert numbers(info, "fixed_energy", np.float64, 1) > 0
    numbers(info, "psi", np.float64, 1)
    assert numbers(info, "ki_over_kf_scaling", np.int32, 1) in (0, 1)
    data = group(entry, "data", "NXdata")
    signal = numbers(data, "data", np.float64)
    detectors, bins = signal.shape
    assert numbers(data, "error", np.float64).shape == signal.shape
    assert len(numbers(data, "energy", np.float64)) in (bins, bins + 1)
    for angle in ("azimuthal", "azimuthal_width", "polar", "polar_width"):
        numbers(data, angle, np.float64, detectors)
    if "distance" in data:
        # detectors are placed there
        assert np.isfinite(numbers(data, "distance", np.float64, detectors)).all()
    else:
        # Horace asks version 1.0 alone for none
        assert version == "1.0"
    text(group(entry, "instrument", "NXinstrument"), "name")


@pytest.mark.parametrize("name", ["MAR11001_test.nxspe", "nxspe_version1_0.nxspe"])
def test_demands_on_nxspe_hold_for_what_mantid_wrote(shared_data: Path, name: str) -> None:
    with h5py.File(shared_data / "formats" / name) as file:
        check_nxspe(file)


@pytest.mark.parametrize("distance", [None, 6.0])
def test_an_nxspe_that_both_take(tmp_path: Path, shared_data: Path, distance: float | None) -> None:
    signal = np.ones((4, 3))
    signal[1] = np.nan
    angles = np.array([10.0, 20.0, 30.0, 40.0])
    write_nxspe(tmp_path / "a.nxspe", signal, signal, [0, 1, 2, 3], angles, angles, 50, 10, distance, "MAPS")
    with h5py.File(tmp_path / "a.nxspe") as ours:
        check_nxspe(ours)
        if distance is None:
            return
        with h5py.File(shared_data / "formats" / "MAR11001_test.nxspe") as theirs:
            items: list[str] = []
            theirs["11001.spe"].visit(items.append)
            for name in items:
                one, other = theirs["11001.spe"][name], ours["run"][name]
                assert type(one) is type(other) and one.attrs.get("NX_class") == other.attrs.get("NX_class")
                if isinstance(one, h5py.Dataset):
                    assert one.dtype.kind == other.dtype.kind and one.ndim == other.ndim, name
