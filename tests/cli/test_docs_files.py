"""The commands of docs/files.md, in their order, as a reader would type them."""

import glob
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "files.md"


def commands() -> list[list[str]]:
    """Arguments of every command in the page's blocks of commands."""
    out, inside = [], False
    for line in PAGE.read_text("utf-8").splitlines():
        if line.startswith("```"):
            inside = line == "```console"
        elif inside and line:
            out.append(shlex.split(line))
    return out


@pytest.mark.slow
def test_commands_of_the_page(run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    called = commands()
    assert [c[1] for c in called[:4]] == ["virtual", "inspect", "reduce", "classify"] and len(called) >= 8
    for command in called:
        assert command[0] == "magnoscope"
        arguments = [name for part in command[1:] for name in (sorted(glob.glob(part)) if "*" in part else [part])]
        outcome = run(*arguments)
        assert outcome.status == 0, (command, outcome.err)
        if command[1] == "classify":
            assert "label: goodenough" in outcome.out
