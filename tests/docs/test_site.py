"""The site of the documentation builds, warnings being errors."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    commands = (tmp_path / "site" / "commands.html").read_text("utf-8")
    assert "magnoscope dataset build" in commands and "--resolution" in commands
    assert "magnoscope.verdict.Verdict" in (tmp_path / "site" / "api.html").read_text("utf-8")


FIGURES = sorted([*(ROOT / "docs").rglob("*.png"), *(ROOT / "notebooks").rglob("*.png")])


@pytest.mark.parametrize("figure", FIGURES, ids=lambda path: path.name)
def test_figures_are_whole(figure: Path) -> None:
    """A PNG file begins with its signature and ends with its last chunk, IEND; one was once committed cut off."""
    content = figure.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n") and content.endswith(b"IEND\xaeB`\x82")
