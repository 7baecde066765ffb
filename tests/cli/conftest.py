"""A tiny study, a training set and weights made of it, and the command line in this process."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magnoscope.cli import main
from magnoscope.studies import load_study
from magnoscope.study import Study

SQUARE = Path(__file__).with_name("square.toml")


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.status == 0, self.err
        return json.loads(self.out)


Run = Callable[..., Outcome]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process."""

    def call(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["magnoscope", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        captured = capfd.readouterr()
        return Outcome(int(left.value.code or 0), captured.out, captured.err)

    return call


@pytest.fixture
def refuse(run: Run) -> Callable[..., str]:
    """Run a command that must end in one line on standard error and exit status 2; returns that line's message."""

    def call(*arguments: object) -> str:
        outcome = run(*arguments)
        assert outcome.status == 2, outcome
        assert outcome.out == ""
        assert outcome.err.count("\n") == 1 and outcome.err.endswith("\n"), outcome.err
        assert "Traceback" not in outcome.err
        if "--json" in arguments:
            found = json.loads(outcome.err)
            assert found.keys() == {"error"}
            return found["error"]
        assert outcome.err.startswith("magnoscope: ")
        return outcome.err.removeprefix("magnoscope: ").rstrip("\n")

    return call


def command(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the real command in a process of its own."""
    words = [str(Path(sys.executable).with_name("magnoscope")), *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=300, **options)


@pytest.fixture(scope="session")
def real_command() -> Callable[..., subprocess.CompletedProcess[str]]:
    return command


@pytest.fixture(scope="session")
def square_file() -> Path:
    return SQUARE


@pytest.fixture(scope="session")
def square() -> Study:
    return load_study(SQUARE)


@pytest.fixture
def variant(tmp_path: Path) -> Callable[..., Path]:
    """The tiny study with pieces of its text changed."""

    def change(*pairs: tuple[str, str], name: str = "variant.toml") -> Path:
        text = SQUARE.read_text("utf-8")
        for old, new in pairs:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / name
        path.write_text(text, "utf-8")
        return path

    return change


@pytest.fixture
def image(tmp_path: Path, square: Study) -> Path:
    """An image that passes for a measurement of the tiny study."""
    path = tmp_path / "image.npy"
    np.save(path, np.random.default_rng(1).gamma(2.0, size=square.image_shape))
    return path


@pytest.fixture(scope="session")
def training_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images of each model of the tiny study, built by one worker."""
    path = tmp_path_factory.mktemp("set") / "square.zarr"
    done = command("dataset", "build", SQUARE, "-n", 12, "-o", path, "--workers", 1, "--seed", 3, "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["done"] == {"near": 12, "far": 12}
    return path


@pytest.fixture(scope="session")
def weights(training_set: Path) -> Path:
    """Weights of one epoch: right in form, not in what they say."""
    path = training_set.parent / "square.safetensors"
    options = ["--epochs", 1, "--width", 16, "--study", SQUARE, "--json"]
    done = command("train", "compact", training_set, "-o", path, *options)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["scores"].keys() == {"clean", "measurement_like"}
    return path
