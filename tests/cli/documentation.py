"""The commands that the documentation prints, and what stands in for what a test cannot have.

Commands are run as they are printed, but for: numbers that cost hours (`SMALLER`, `ADDED`), and placeholders (`FILLED`;
words in capitals that are no placeholder here are names of files that the test writes, as they stand).
"""

import re
import shlex
from pathlib import Path
from typing import Any

import typer

from magnoscope.cli import app

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])

GROUP: Any = typer.main.get_command(app)

SMALLER = {
    "-n": "12",
    "--epochs": "1",
    "--images": "4",
    "--sample": "2",
    "--detectors": "400",
    "--starts": "3",
    "--port": "0",
}
"""What stands after an option instead of the printed number."""
ADDED = {
    "train": ["--epochs", "1"],
    "fit": ["--draws", "2", "--samples", "4"],
    "compare": ["--draws", "2", "--samples", "4"],
    "report": ["--draws", "2"],
    "powder": ["--q-points", "4", "--tolerance", "0.5"],
    "reproduce": ["--points", "16,24"],
    "app": ["--port", "0"],
    "plan": ["--draws", "1"],
}
"""Options that a command gets where it has not got them already."""
FILLED = {
    "IMAGE": "measured.npy",
    "STUDY": "pcsmo",
    "MODEL": "goodenough",
    "M": "goodenough",
    "S": "pcsmo",
    "KIND": "compact",
    "AXIS": "h",
    "FILE": "image.h5",
    "RUN": "runs/pcsmo-4-70meV.nxspe",
    "FIGURE": "figure.png",
    "NAME=VALUE": "JF1=-5",
    "NAME=LOW..HIGH": "k=-0.5..0.5",
    "EI,HZ": "70,250",
    "h,k,l": "0.25,0,0",
    "h,k": "0.25,0",
    "E": "10",
    "T": "2",
    "N": "1",
}


def printed(page: Path) -> list[str]:
    """Commands of a page, fenced, indented or within a line, without comments and what follows in columns."""
    out, fenced, prose = [], False, []
    for line in page.read_text("utf-8").splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            if found := re.match(r"\s*(?:\$ )?(magnoscope [a-z].*)", line):
                out.append(re.split(r"\s{2,}|\s+# |(?<=\]) (?=[a-z])", found[1])[0])
        else:
            prose.append(line)
    spans = re.findall(r"`(?:[A-Z_]+=\S+ )*(magnoscope [a-z][^`]*)`", "\n".join(prose))
    return [*out, *(" ".join(span.split()) for span in spans)]


def command_of(words: list[str]) -> tuple[Any, list[str]]:
    """The command that words name, and what follows."""
    found = GROUP
    while words and getattr(found, "commands", None) and words[0] in found.commands:
        found, words = found.commands[words[0]], words[1:]
    return found, words


def filled(line: str) -> list[str]:
    """Words of a printed command with nothing left to fill in: what is optional is given, of several the first."""
    line = re.sub(r"[\[\]]", " ", line.replace("(npy|h5)", "npy").replace("--ei E", "--ei 50"))
    line = line.replace("studies check FILE", "studies check mine.toml")
    words = [word.removesuffix("...") for word in shlex.split(line)[1:]]
    return [FILLED.get(word, word) for word in (word.split("|")[0] for word in words) if word]


def shortened(words: list[str]) -> list[str]:
    """The same with numbers that cost a test seconds instead of hours."""
    out = [SMALLER.get(before, word) for before, word in zip(["", *words], words, strict=False)]
    added = ADDED.get(words[0], [])
    return [*out, *(w for o, v in zip(added[::2], added[1::2], strict=True) if o not in out for w in (o, v))]


def options_of(command: Any) -> set[str]:
    """Every option that a command takes."""
    return {name for p in command.params for name in (*p.opts, *p.secondary_opts)} | {"--help"}


def is_mention(words: list[str]) -> bool:
    """Whether words only name a command, such as "explain --check": what it works on is left out."""
    command, rest = command_of(words)
    if getattr(command, "commands", None):
        return bool(rest)
    try:
        command.make_context("magnoscope", list(rest))
    except Exception as error:  # noqa: BLE001 - typer may bring its own click
        return type(error).__name__ == "MissingParameter"
    return False
