"""The page that leads from a crystal file to a dispersion says what the commands do."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "from-cif-to-dispersion.md").read_text("utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [text for kind, text in BLOCKS if kind == "console"]


@pytest.mark.parametrize("block", COMMANDS, ids=lambda text: text.split("\n")[0][13:60])
def test_commands_print_what_the_page_shows(block: str, run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(DOCS / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path / "examples")
    kagome = Path("kagome.toml").read_text("utf-8")
    assert 'dm = [0, 0, "Dz"]' in kagome
    Path("forbidden.toml").write_text(kagome.replace('dm = [0, 0, "Dz"]', 'dm = ["Dz", 0, 0]'), "utf-8")
    command, *shown = block.rstrip("\n").split("\n")
    assert command.startswith("$ magnoscope ")
    outcome = run(*shlex.split(command)[2:])
    printed = outcome.out + outcome.err
    assert outcome.status == (2 if shown[0].startswith("magnoscope: ") else 0), printed
    # three dots stand for anything
    pattern = r"(?s:.*)".join(re.escape(part) for part in "\n".join(shown).split("..."))
    assert re.fullmatch(pattern + r"\n?", printed), printed
    assert "-o" not in command or Path(command.split()[-1]).stat().st_size > 1000


def test_files_hold_what_the_page_shows() -> None:
    files = [path.read_text("utf-8") for path in (DOCS / "examples").glob("*.toml")]
    shown = [text for kind, text in BLOCKS if kind == "toml"]
    assert len(shown) > 3
    for block in shown:
        assert any(block in text for text in files), block


def test_figures_are_there() -> None:
    for name in re.findall(r"\]\((figures/[^)]*)\)", PAGE):
        assert (DOCS / name).is_file()
