"""Cleaning spectra."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ..cleaning import check_cleaner, held_out, load_cleaner, shipped_cleaner
from ..dataset.coverage import CoverageLaw, random_coverage
from ..dataset.parts import check_held_out, load_part, open_set
from ..io.images import read_spectrum, write_spectrum
from ..plot import save_figure
from ..plot_clean import plot_cleaned
from ..studies import default_study, load_study
from .common import FIGURES, ImageArgument, Json, MaskOption, StudyOption, WeightsOption, app, print_json, writable
from .training import COVERAGES


@app.command("clean")
def clean_command(
    image: ImageArgument,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Cleaned image: .h5 (with its spread as errors) or .npy (bare).")
    ],
    study: StudyOption = None,
    mask: MaskOption = None,
    weights: WeightsOption = None,
    check: Annotated[
        Path | None,
        typer.Option("--check", metavar="DATASET", help="Check the cleaner on its training set's test part."),
    ] = None,
    figure: Annotated[Path | None, typer.Option("--figure", help="Figure to write: data, cleaned, spread.")] = None,
    as_json: Json = False,
) -> None:
    """Clean a spectrum of noise and background; its errors are the spread of what it may be."""
    found = load_study(study or default_study())
    writable(output, ".h5", ".npy")
    if figure is not None:
        writable(figure, *FIGURES)
    cleaner, warning = load_cleaner(weights or shipped_cleaner(found), found)
    spectrum = read_spectrum(image, found, mask)
    cleaned = cleaner(spectrum)
    result: dict[str, Any] = {"file": str(output), "warning": warning, "pixels": int(spectrum.valid.sum())}
    halves = held_out(cleaner, spectrum)
    result["held_out"] = None if halves is None else asdict(halves)
    if check is not None:
        source = open_set(check)
        check_held_out(check, cleaner.card, "this cleaner")
        seed = int(cleaner.card["seed"])
        law = CoverageLaw.from_settings(cleaner.card.get("coverage"))
        train, test = (load_part(source, found, name) for name in ("train", "test"))
        report = check_cleaner(cleaner, train, test, random_coverage(found, COVERAGES, seed, law), seed)
        result["checks"] = report.as_dict()
    write_spectrum(cleaned, output, {"cleaned": str(cleaner.card.get("kind", ""))})
    if figure is not None:
        save_figure(plot_cleaned(spectrum, cleaned), figure)
    if as_json:
        print_json(result)
        return
    if warning:
        print(f"warning: {warning}")
    if halves is not None:
        print(
            f"correlation with hidden mirror pixels: cleaned {halves.cleaned:.3f}, raw {halves.raw:.3f}; of what is "
            f"put where nothing was given {halves.predicted:.3f} ({halves.tiles} tiles)"
        )
    for name, value in result.get("checks", {}).items():
        print(f"{name.replace('_', ' ')}: {value:.4g}")
    print(output)
