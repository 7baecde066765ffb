"""A reduction killed from outside goes on where it was, and ends in the very bytes of one that was left alone."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from magnoscope.io.runs import NxspeSource

PIXELS = 10_000
"""Pixels of a part: the reduction below has dozens."""

CHILD = """
import sys, time
import magnoscope.io.runs as runs
import magnoscope.reduce.accumulate as accumulate
from magnoscope.cli import main

runs.PIXELS, accumulate.SAVE_EVERY = {pixels}, 0.0
save = accumulate._save

def save_and_wait(*arguments):
    save(*arguments)
    time.sleep(0.2)  # time in which to be killed

accumulate._save = save_and_wait
main()
"""
"""The command as a user starts it, but in small parts, each of which it keeps."""


def parts_done(state: Path) -> int:
    """Parts whose sums a state holds; 0 while there is none."""
    try:
        with open(state, "rb") as file:
            _, done = (np.load(file, allow_pickle=False) for _ in range(2))
    except FileNotFoundError:
        return 0
    return int(done[0])


def children(pid: int) -> list[Path]:
    """Entries in /proc of the processes that a process has started."""
    return [Path("/proc", child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_killed_in_the_middle(run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    square = Path(__file__).with_name("square.toml")
    (file,) = run("virtual", square, "near", "-o", tmp_path / "runs", "--detectors", 900, "--json").json["files"]
    arguments = ["reduce", file, "--study", square, "--background", "auto", "--json", "-o"]
    monkeypatch.setattr("magnoscope.io.runs.PIXELS", PIXELS)
    left_alone = run(*arguments, tmp_path / "whole.h5").json
    out, state = tmp_path / "killed.h5", tmp_path / "killed.h5.state"
    called = [sys.executable, "-c", CHILD.format(pixels=PIXELS), *map(str, arguments), str(out)]
    with subprocess.Popen(called, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        while parts_done(state) < 3:
            assert child.poll() is None, "ended before it could be killed"
            time.sleep(0.02)
        started = children(child.pid)
        os.kill(child.pid, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    assert not out.exists() and started  # the process that reads HDF5
    done, read = parts_done(state), []
    original = NxspeSource.part
    monkeypatch.setattr(NxspeSource, "part", lambda self, n: read.append(n) or original(self, n))
    again = run(*arguments, out).json
    # nothing is read twice, nothing left out
    assert done >= 3 and read and read[0] == done and read == list(range(done, read[-1] + 1))
    assert out.read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert {**again, "file": ""} == {**left_alone, "file": ""}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["killed.h5", "runs", "whole.h5"]
    deadline = time.monotonic() + 30
    while any(process.exists() for process in started):
        assert time.monotonic() < deadline, "a process was left behind"
        time.sleep(0.01)
