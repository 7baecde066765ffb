"""Files of facilities: what is in them, and from runs to a study's image."""

import sys
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from ..errors import DataError
from ..io.contents import inspect as inspect_file
from ..io.images import read_part, write_spectrum
from ..io.mdhisto_write import write_mdhisto
from ..io.runs import open_runs
from ..io.virtual import detector_array, image_intensity, write_virtual_run
from ..reduce.accumulate import Reduction, reduce_runs
from ..reduce.background import Background, estimate, subtract
from ..reduce.merge import merge
from ..reduce.symmetry import operations
from ..simulate import Simulator
from ..spectrum import Spectrum
from ..studies import default_study, load_study
from .common import Json, SeedOption, SetOption, StudyArgument, StudyOption, app, parse_settings, print_json, writable


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file of a facility, or one of ours.")],
    as_json: Json = False,
) -> None:
    """Say what a file holds: NXSPE, MDHistoWorkspace, .sqw, dnd, our .h5, .npy; judged by its content."""
    found = inspect_file(file)
    if as_json:
        print_json(found.as_dict())
        return
    print("\n".join(found.lines()))


@app.command()
def reduce(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Reduced runs: NXSPE, or .sqw with pixels.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Image to write: .h5, or .npy (bare).")],
    study: StudyOption = None,
    psi: Annotated[
        list[float] | None,
        typer.Option("--psi", help="Crystal angle of an NXSPE file (degrees); once for all, or for each in turn."),
    ] = None,
    fold: Annotated[
        list[str] | None,
        typer.Option("--fold", help='Symmetry, such as "-h,k,l" or a space group; may be given often.'),
    ] = None,
    background: Annotated[Background, typer.Option("--background", help="What to subtract.")] = Background.none,
    background_output: Annotated[
        Path | None, typer.Option("--background-output", help="Where to write the background, .h5 or .npy.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Bin reduced runs into the study's image: detector angles and energy to (Q, energy), with errors and counts.

    One run or hundreds: each carries its crystal angle, and what the view does not show is integrated. Interrupted, the
    same command goes on where it was.
    """
    found = load_study(study or default_study())
    for path in (output, background_output):
        if path is not None:
            writable(path, ".h5", ".npy")
    if background_output is not None and background == Background.none:
        raise DataError("there is no background to write; choose one with --background paper or auto")
    turns = operations(fold or [])
    sources = open_runs(runs, found, psi or [])
    state = output.with_name(output.name + ".state")
    reduced = reduce_runs(found, sources, turns, state, _Progress())
    spectrum, taken = reduced.spectrum, None
    if background != Background.none:
        taken = estimate(spectrum, reduced.q, background)
        spectrum = subtract(spectrum, taken)
    about = {"made_by": "reduce", "files": len(runs), "symmetry_operations": len(turns), "background": background.value}
    write_spectrum(spectrum, output, about)
    if taken is not None and background_output is not None:
        write_spectrum(taken, background_output, about)
    state.unlink(missing_ok=True)
    _say(output, reduced, spectrum, sum(s.size for s in sources), about, as_json)


def _say(
    output: Path, reduced: Reduction, spectrum: Spectrum, pixels: int, about: dict[str, object], as_json: bool
) -> None:
    """What came out."""
    study = spectrum.study
    share = spectrum.valid.mean((1, 2, 3))
    assert reduced.spectrum.npix is not None
    used = int(reduced.spectrum.npix.sum())
    if as_json:
        runs = [{"ei_meV": run.ei, "measured": float(part)} for run, part in zip(study.runs, share, strict=True)]
        print_json({"file": str(output), "pixels": pixels, "in_view": used, "runs": runs, **about})
        return
    print(f"{output}: {pixels} pixels of {about['files']} files, {used} in the view of study {study.name}")
    for run, part in zip(study.runs, share, strict=True):
        print(f"  Ei {run.ei:g} meV: {100 * part:.0f} % of the view measured")
    if not np.all(share > 0):
        print("runs without data stay empty (NaN)")


class _Progress:
    """A line on standard error, at most once a second."""

    def __init__(self) -> None:
        self.last = time.monotonic()

    def __call__(self, done: int, total: int, name: str) -> None:
        now = time.monotonic()
        if now - self.last > 1:
            self.last = now
            print(f"{done / 1e6:.1f} of {total / 1e6:.1f} million pixels ({name})", file=sys.stderr)


@app.command()
def virtual(
    study: StudyArgument,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A candidate model of the study.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for one NXSPE file of each run.")],
    settings: SetOption = None,
    counts: Annotated[
        float | None, typer.Option("--counts", min=1e-6, max=1e6, help="Mean counts of a detector and energy bin.")
    ] = None,
    detectors: Annotated[int, typer.Option("--detectors", min=100, max=10**6, help="Number of detectors.")] = 36_864,
    seed: SeedOption = 0,
    as_json: Json = False,
) -> None:
    """Simulate a model and write what a detector array would have counted: one NXSPE file of each run."""
    found = load_study(study)
    found.model(model)
    if output.exists() and not output.is_dir():
        raise DataError(f"{output} is a file; name a folder")
    spectrum = Simulator(found)(model, parse_settings(settings))
    output.mkdir(exist_ok=True)
    side = round(detectors**0.5)
    array = detector_array(tubes=side, pixels=side)
    files = []
    for number, run in enumerate(found.runs):
        path = output / f"{found.name}-{number + 1}-{run.ei:g}meV.nxspe"
        write_virtual_run(found, number, image_intensity(spectrum, number), array, path, counts, seed)
        files.append(str(path))
    if as_json:
        print_json({"files": files, "detectors": array.shape[1]})
        return
    print("\n".join(files))


@app.command()
def convert(
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE...", help="Images of the study, or parts of one, in any form.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write: .h5, .npy, or .nxs for Mantid.")],
    study: StudyOption = None,
    ei: Annotated[
        float | None, typer.Option("--ei", help="The run to write (.nxs), by its incident energy, meV.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write an image in another form, several parts as one; an .nxs is an MDHistoWorkspace that Mantid opens."""
    found = load_study(study or default_study())
    writable(output, ".h5", ".npy", ".nxs")
    spectrum = merge([read_part(image, found) for image in images])
    if output.suffix != ".nxs":
        write_spectrum(spectrum, output)
    else:
        energies = [run.ei for run in found.runs]
        number = 0 if ei is None else int(np.argmin(np.abs(np.array(energies) - ei)))
        if (ei is None and len(energies) > 1) or (ei is not None and abs(energies[number] - ei) > 1e-6 * ei):
            known = ", ".join(f"{e:g}" for e in energies)
            raise DataError(f"an .nxs holds one run; name it with --ei, study {found.name} has {known} meV")
        write_mdhisto(spectrum, number, output)
    if as_json:
        print_json({"file": str(output)})
        return
    print(output)
