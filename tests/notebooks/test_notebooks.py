"""The notebooks run, on small settings, and are stored without outputs."""

import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SAID = {
    "1-goodenough-or-dimer": ("goodenough (K = ", "Ei 70 meV", "chi-square"),
    "2-your-own-material": ("shell 1", "accuracy"),
    "3-resolution": ("distance from gaussian", "chi-square"),
}
"""What must be printed, by notebook."""


def test_there_are_three() -> None:
    assert [path.stem for path in NOTEBOOKS] == sorted(SAID)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_without_outputs(path: Path) -> None:
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        assert cell.get("outputs", []) == [] and cell.get("execution_count") is None


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("panel")
    monkeypatch.setenv("MAGNOSCOPE_SMALL", "1")
    notebook = nbformat.read(path, 4)
    nbclient.NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": str(FOLDER)}}).execute()
    printed = "".join(
        output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []) if "text" in output
    )
    for text in SAID[path.stem]:
        assert text in printed, (text, printed)
