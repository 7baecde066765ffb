"""report from the command line."""

import base64
import hashlib
import re
from pathlib import Path


def test_report(run, image: Path, square_file: Path, weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    words = ["report", image, "--study", square_file, "--weights", weights, "-o", path]
    found = run(*words, "--json").json
    html = path.read_text("utf-8")
    assert found["report"] == str(path) and found["bytes"] == path.stat().st_size
    assert found["nearest"] in ("near", "far")
    pictures = re.findall(r'src="data:image/png;base64,([^"]*)"', html)
    assert len(pictures) == 3  # verdict, explanation, cuts
    assert all(base64.b64decode(p).startswith(b"\x89PNG") for p in pictures)
    for file in (image, weights):
        assert hashlib.sha256(file.read_bytes()).hexdigest() in html
    assert "magnoscope report image.npy --study square.toml" in html and str(tmp_path) not in html
    assert ("OUT OF DISTRIBUTION" in html) == (not found["in_distribution"])
    assert ">energy (meV)<" in html and ">diagonal (r.l.u.)<" in html
    assert "Candidates compared" not in html


def test_report_with_fits(run, square_file: Path, weights: Path, tmp_path: Path) -> None:
    counts, path = tmp_path / "counts.h5", tmp_path / "report.html"
    run("simulate", square_file, "far", "--noise", 30, "-o", counts, "--json").json  # noqa: B018
    words = ["report", counts, "--study", square_file, "--weights", weights, "-o", path]
    assert "report: " in run(*words, "--compare", "--draws", 4).out
    html = path.read_text("utf-8")
    assert "Candidates compared once each is fitted" in html and "Vuong" in html and html.count("<img") == 4


def test_bad_input(refuse, image: Path, square_file: Path, weights: Path, tmp_path: Path) -> None:
    words = ["report", image, "--study", square_file]
    out = ["-o", tmp_path / "r.html"]
    assert "no weights ship for study square" in refuse(*words, *out)
    assert "must end in .html" in refuse(*words, "--weights", weights, "-o", tmp_path / "r.pdf", "--json")
    assert "there is no folder" in refuse(*words, "--weights", weights, "-o", tmp_path / "none" / "r.html")
    assert "--output" in refuse(*words, "--weights", weights)
    assert not list(tmp_path.glob("*r.html*"))
