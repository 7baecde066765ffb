"""Looking at training sets, verifying, exporting and bringing over."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr

from magnoscope.dataset.chunks import encode, write
from magnoscope.dataset.draws import Law
from magnoscope.dataset.parts import Stack, identity_of, load_part, open_set
from magnoscope.dataset.store import Settings, create, open_store
from magnoscope.dataset.tasks import Job, make_chunk
from magnoscope.errors import DataError
from magnoscope.studies import parse_study
from magnoscope.study import Study

Refuse = Callable[..., str]
SQUARE = Path(__file__).with_name("square.toml")
JOINED = Path(__file__).parents[1] / "studies" / "test_overlaps.py"


@pytest.fixture
def copy(training_set: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(training_set, tmp_path / "copy.zarr"))


def test_info_with_rejections(run, training_set: Path) -> None:
    found = run("dataset", "info", training_set, "--rejections", "--json").json
    assert [table["model"] for table in found["rejections"]] == ["near", "far"]
    for table in found["rejections"]:
        for row in table["parameters"].values():
            assert sum(row["drawn"]) == 12 + sum(row["rejected"]) == 12 + found["rejected"][table["model"]]
    assert found["rounding"] == {"relative": 2**-11, "absolute": 2**-25} and "study_text" not in found
    shown = run("dataset", "info", training_set, "--rejections").out
    assert "near: 0% of draws rejected as unstable; per cent in tenths of each prior (meV)" in shown
    assert "         J      -5 to -3" in shown


def test_verify(run, training_set: Path) -> None:
    found = run("dataset", "verify", training_set, "--sample", 3, "--seed", 1, "--json")
    assert found.json == {"checked": 24, "dropped": 0, "damaged": {}, "identical": 3, "close": 0, "different": []}
    assert "3 of 3 images simulated again, 0 differ" in found.err


def test_an_image_that_is_not_what_its_seed_draws(run, copy: Path) -> None:
    zarr.open_group(str(copy), mode="r+").attrs["seed"] = 4
    outcome = run("dataset", "verify", copy, "--sample", 2)
    assert outcome.status == 2 and "comes out differently today (2 of the sample do)" in outcome.err


def test_export_to_hdf5(run, refuse: Refuse, training_set: Path, tmp_path: Path) -> None:
    path, root = tmp_path / "set.h5", zarr.open_group(str(training_set), mode="r")
    assert run("dataset", "export", training_set, "-o", path, "--json").json["images"] == {"near": 12, "far": 12}
    with h5py.File(path) as file:
        assert file.attrs["study"] == "square" and file.attrs["seed"] == 3
        for name in ("near", "far"):
            for array in ("images", "parameters", "rejected", "seeds", "checksums"):
                np.testing.assert_array_equal(file[f"{name}/{array}"][:], np.asarray(root[f"{name}/{array}"]))
            assert list(file[name].attrs["parameters"]) == root[name].attrs["parameters"]
    assert "is there already" in refuse("dataset", "export", training_set, "-o", path)
    assert "must end in .h5 or .hdf5" in refuse("dataset", "export", training_set, "-o", tmp_path / "set.txt")


def test_training_reads_an_export_by_memory_map(run, refuse: Refuse, copy: Path, square: Study, tmp_path: Path) -> None:
    path = tmp_path / "set"
    run("dataset", "export", copy, "-o", path)
    mapped, stored = open_set(path), open_set(copy)
    for name in ("train", "validation", "calibration", "test"):
        a, b = load_part(mapped, square, name), load_part(stored, square, name)
        assert isinstance(a.images, Stack) == (name == "train") and a.images.shape == b.images.shape
        order = np.random.default_rng(0).permutation(len(b.labels))
        np.testing.assert_array_equal(a.images[order], b.images[order])
        np.testing.assert_array_equal(np.asarray(a.images), b.images)
        np.testing.assert_array_equal(a.parameters, b.parameters)
    assert all(isinstance(array.base, np.memmap) for array in load_part(mapped, square, "train").images.arrays)
    assert run("dataset", "info", path, "--json").json["per_class"] == 12
    weights = tmp_path / "w.safetensors"
    words = ["train", "compact", path, "-o", weights, "--epochs", 1, "--width", 16, "--without", "hot,masks", "--json"]
    card = run(*words).json
    assert card["images"]["train"] == 16 and card["nuisance"]["hot"] == 0 and card["nuisance"]["masks"] is False
    assert card["coverage"]["gaps"] > 0
    (path / "near.images.npy").write_bytes((path / "near.images.npy").read_bytes()[:-100])
    assert "is damaged in class near" in refuse(*words)


def test_export_of_the_first_images_is_the_smaller_set(run, refuse: Refuse, training_set: Path, tmp_path: Path) -> None:
    """Image i of a class depends on its number alone, so that the first ten are what a build of ten makes."""
    small = tmp_path / "small"
    assert run("dataset", "export", training_set, "-n", 10, "-o", small, "--json").json["images"]["far"] == 10
    built = tmp_path / "built.zarr"
    words = ["dataset", "build", SQUARE, "-n", 10, "--seed", 3, "--workers", 1, "-o", built]
    run(*words)
    assert identity_of(small) == identity_of(built)
    for name in ("near", "far"):
        for array in ("images", "parameters", "seeds"):
            stored = np.asarray(zarr.open_group(str(built), mode="r")[f"{name}/{array}"])
            np.testing.assert_array_equal(np.load(small / f"{name}.{array}.npy"), stored)
    message = refuse("dataset", "export", training_set, "-n", 13, "-o", tmp_path / "more")
    assert "has 12 images of each class, not 13" in message


def test_export_of_an_unfinished_set(refuse: Refuse, copy: Path, tmp_path: Path) -> None:
    zarr.open_group(str(copy), mode="r+")["near/done"][3] = False
    assert "is not finished" in refuse("dataset", "export", copy, "-o", tmp_path / "out")
    assert {p.name for p in tmp_path.iterdir()} == {"copy.zarr"}


@pytest.fixture
def old(copy: Path) -> Path:
    """The same set as an older version left it."""
    root = zarr.open_group(str(copy), mode="r+")
    for name in ("near", "far"):
        for array in ("seeds", "checksums"):
            del root[f"{name}/{array}"]
    for key in ("format", "study_text", "draws", "precision", "rounding"):
        del root.attrs[key]
    return copy


def test_a_set_of_an_older_version(
    run, refuse: Refuse, old: Path, training_set: Path, square: Study, square_file
) -> None:
    assert len(load_part(open_set(old), square, "train").labels) == 16
    assert run("dataset", "info", old, "--json").json["done"] == {"near": 12, "far": 12}
    assert "bring it over with: magnoscope dataset adopt" in refuse("dataset", "verify", old)
    build = ["dataset", "build", square_file, "-n", 12, "-o", old, "--seed", 3]
    assert "bring it over with: magnoscope dataset adopt" in refuse(*build)
    found = run("dataset", "adopt", old, "--study", square_file, "--sample", 2, "--json").json
    assert found == {"images": 24, "identical": 2, "close": 0}
    a, b = (zarr.open_group(str(p), mode="r") for p in (old, training_set))
    for key in ("near/seeds", "far/checksums", "near/images"):
        np.testing.assert_array_equal(np.asarray(a[key]), np.asarray(b[key]))
    assert run(*build, "--json").err == "24 of 24 images there already\n"
    assert "is of this version's format already" in refuse("dataset", "adopt", old)


def test_an_old_set_that_is_not_what_it_says(run, old: Path, square_file: Path) -> None:
    zarr.open_group(str(old), mode="r+")["far/parameters"][5, 0] += 1e-12
    outcome = run("dataset", "adopt", old, "--study", square_file)
    assert outcome.status == 2
    assert "image 5 of far in" in outcome.err and "is not what its seed draws" in outcome.err
    assert "format" not in zarr.open_group(str(old), mode="r").attrs


def test_images_where_models_coincide(tmp_path: Path) -> None:
    held: dict[str, str] = {}
    exec(JOINED.read_text("utf-8").split("def mistake")[0], {"__file__": str(JOINED)}, held)
    text = held["JOINED"].replace("prior = [-5, -3]", "prior = [-5, -2]")
    study, law, path = parse_study(text), Law("overlap"), tmp_path / "set.zarr"
    create(path, study, text, Settings(12, 3, law=law))
    job = Job(text, "study", study.physics_hash, "gaussian", 3, law)
    for number, name in enumerate(study.classes):
        for indices in (range(8), range(8, 12)):
            write(path / name, encode(3, number, indices, make_chunk(job, number, indices)))
    part = load_part(open_set(path), study, "test")
    np.testing.assert_array_equal(part.targets, np.full((4, 2), 0.5))


def test_encoded_chunks_are_what_zarr_writes(square: Study, square_file: Path, tmp_path: Path) -> None:
    """Byte for byte, for a whole chunk and for the last of a set; what is all zero has no file."""
    text = square_file.read_text("utf-8")
    job, path = Job(text, str(square_file), square.physics_hash, "gaussian", 0), tmp_path / "set.zarr"
    root = create(path, square, text, Settings(11))
    for indices in (range(8), range(8, 11)):
        chunk, where = make_chunk(job, 0, indices), slice(indices.start, indices.stop)
        for array in ("images", "parameters", "rejected", "checksums"):
            root[f"near/{array}"][where] = getattr(chunk, array)
        root["near/seeds"][where] = [(0, 0, i) for i in indices]
        root["near/done"][where] = True
        files = encode(0, 0, indices, chunk)
        assert list(files.contents)[-1] == f"done/c/{indices.start // 8}" and len(files.contents) == 6
        for place, content in files.contents.items():
            file = path / "near" / place
            assert file.read_bytes() == content if file.exists() else content is None
        assert files.contents[f"rejected/c/{indices.start // 8}"] is None
        stale = path / "near" / f"rejected/c/{indices.start // 8}"
        stale.parent.mkdir(exist_ok=True)
        stale.write_bytes(b"of before")
        write(path / "near", files)
        assert not stale.exists() and not list(path.rglob("*.partial"))


def test_float32_keeps_more(square: Study, square_file: Path) -> None:
    job = Job(square_file.read_text("utf-8"), str(square_file), square.physics_hash, "gaussian", 3, precision="float32")
    fine = make_chunk(job, 0, range(2)).images
    assert fine.dtype == np.float32
    half = fine.astype(np.float16)
    off = np.abs(half.astype(float) - fine)
    assert np.all(off <= np.maximum(2.0**-11 * np.abs(fine), 2.0**-25)) and off.max() > 0


def test_a_worker_with_another_version_or_instrument(square: Study, square_file: Path) -> None:
    text = square_file.read_text("utf-8")
    with pytest.raises(DataError, match="a worker runs magnoscope .*, this is 0.0; install the same everywhere"):
        make_chunk(Job(text, str(square_file), square.physics_hash, "gaussian", 3, version="0.0"), 0, range(1))
    with pytest.raises(DataError, match="a worker reads another instrument file"):
        make_chunk(Job(text, str(square_file), "0" * 16, "gaussian", 3), 0, range(1))


def test_stores_are_not_changed_by_reading(training_set: Path) -> None:
    with pytest.raises(ValueError, match="read-only"):
        open_store(training_set).attrs["seed"] = 5
    assert json.loads((training_set / "zarr.json").read_text())["attributes"]["seed"] == 3
