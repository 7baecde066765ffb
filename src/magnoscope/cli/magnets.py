"""Magnetic structures and powder averages."""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from ..errors import StudyError
from ..io.powder import write_powder
from ..plot import plot_powder, save_figure
from ..spinwave import Line, ModeSolver, powder_spectrum, require_minimum, zone_grid
from ..spinwave.structure import StructureCheck, check_structure
from ..studies import load_magnet
from .common import (
    FIGURES,
    Json,
    SeedOption,
    SetOption,
    Shape,
    StudyArgument,
    TemperatureOption,
    app,
    parse_numbers,
    parse_settings,
    print_json,
    writable,
)
from .waves import ModelArgument

MOST_POINTS = 2000
"""Points an axis of a powder average may have."""


@app.command()
def structure(
    study: StudyArgument,
    model: ModelArgument,
    settings: SetOption = None,
    minimise: Annotated[bool, typer.Option("--minimise", help="Look for a lower structure, on the same cell.")] = False,
    starts: Annotated[int, typer.Option("--starts", min=1, max=10_000, help="Starts of that search.")] = 20,
    seed: SeedOption = 0,
    k: Annotated[
        str | None,
        typer.Option("--k", metavar="H,K,L", help="Try a single-k structure of this wave vector instead, r.l.u."),
    ] = None,
    axis: Annotated[str, typer.Option("--axis", metavar="X,Y,Z", help="Its rotation axis, Cartesian.")] = "0,0,1",
    as_json: Json = False,
) -> None:
    """Say whether a magnetic structure is stationary and a minimum, which site feels which torque, and what is lower.

    The search varies the directions of all spins on the magnetic cell, and the wave vector of a single-k structure.
    """
    spin_model = load_magnet(study).model(model)
    values = spin_model.values(parse_settings(settings))
    if k is not None:
        h, kk, ll = parse_numbers(k, 3, "--k", "h,k,l")
        x, y, z = parse_numbers(axis, 3, "--axis", "x,y,z")
        spin_model = replace(spin_model, propagation=(h, kk, ll), rotation_axis=(x, y, z))
    check = check_structure(spin_model, values, starts if minimise else 0, seed)
    if as_json:
        print_json(_as_json(check))
        return
    print("\n".join(check.sentences))
    print(f"{'site':>16}    moment{'':24}torque (meV)    tilt (degrees)")
    for site, v, torque, tilt in zip(spin_model.sites, spin_model.moments, check.torques, check.tilts, strict=True):
        moment = " ".join(f"{c:9.5f}" for c in v)
        print(f"{site.name:>16} {moment} {np.linalg.norm(torque):14.4g} {np.degrees(tilt):16.4g}")
    if check.found is not None and check.found.lower:
        print("moments of the lower structure:")
        for site, v in zip(spin_model.sites, check.found.model.moments, strict=True):
            print(f"{site.name:>16} " + " ".join(f"{c:9.5f}" for c in v))


def _as_json(check: StructureCheck) -> dict[str, object]:
    n = len(check.model.sites)
    sites = [
        {
            "name": site.name,
            "moment": moment.tolist(),
            "torque_meV": torque.tolist(),
            "tilt_degrees": float(np.degrees(tilt)),
        }
        for site, moment, torque, tilt in zip(
            check.model.sites, check.model.moments, check.torques, check.tilts, strict=True
        )
    ]
    out: dict[str, object] = {
        "energy_meV_per_cell": check.energy,
        "energy_meV_per_site": check.energy / n,
        "stationary": check.stationary,
        "minimum": check.minimum,
        "lowest_eigenvalue_meV": check.lowest,
        "lowest_at_q": check.q.tolist(),
        "bound_meV_per_site": check.bound.energy / n,
        "bound_at_k": check.bound.k.tolist(),
        "sites": sites,
        "says": check.sentences,
        "found": None,
    }
    if check.found is not None:
        out["found"] = {
            "lower": check.found.lower,
            "energy_meV_per_cell": check.found.energy,
            "energy_meV_per_site": check.found.energy / n,
            "moments": check.found.model.moments.tolist(),
            "k": check.found.model.propagation,
            "starts": len(check.found.ends),
            "reached": check.found.reached,
        }
    return out


def _energy_edges(
    solver: ModeSolver, values: NDArray[np.float64], low: float, high: float | None, points: int
) -> NDArray[np.float64]:
    """Edges of the energy bins of a powder, meV; up to a little above all modes if not told."""
    if high is None:
        high = 1.1 * float(solver.solve(values, zone_grid(solver.model)).energies.max())
    if not (low < high < float("inf")):
        raise StudyError(f"--energy-from {low:g} --energy-to {high:g} is no range; give numbers that rise")
    return np.linspace(low, high, points + 1)


EnergyTo = Annotated[
    float | None,
    typer.Option("--energy-to", help="Highest energy transfer, meV; a little above all modes if not given."),
]
PowderWidth = Annotated[
    float | None,
    typer.Option("--width", help="Full width at half maximum of a mode, meV; 3 % of the range if not given."),
]
Settled = Annotated[
    float, typer.Option("--tolerance", help="Relative change allowed in the last doubling of the directions.")
]


@app.command()
def powder(
    study: StudyArgument,
    model: ModelArgument,
    output: Annotated[Path, typer.Option("-o", "--output", help="File to write: .h5, or a figure .png, .pdf, .svg.")],
    settings: SetOption = None,
    q_from: Annotated[float, typer.Option("--q-from", help="Smallest |Q|, 1/Å.")] = 0.1,
    q_to: Annotated[float, typer.Option("--q-to", help="Largest |Q|, 1/Å.")] = 3.0,
    q_points: Annotated[int, typer.Option("--q-points", min=2, max=MOST_POINTS, help="Number of |Q|.")] = 60,
    energy_from: Annotated[float, typer.Option("--energy-from", help="Lowest energy transfer, meV.")] = 0.0,
    energy_to: EnergyTo = None,
    energy_points: Annotated[int, typer.Option("--energy-points", min=1, max=MOST_POINTS, help="Energy bins.")] = 100,
    width: PowderWidth = None,
    line: Annotated[Shape, typer.Option("--line", help="Shape of a mode in energy.")] = Shape.gaussian,
    temperature: TemperatureOption = 0.0,
    tolerance: Settled = 0.02,
    form_factor: Annotated[bool, typer.Option("--form-factor/--no-form-factor", help="With form factors.")] = True,
    as_json: Json = False,
) -> None:
    """Average S_perp over all directions of Q: a powder's spectrum on |Q| and energy, per magnetic cell.

    Every |Q| takes as many directions as it needs to settle within the tolerance.
    """
    found = load_magnet(study)
    spin_model = found.model(model)
    values = spin_model.values(parse_settings(settings))
    writable(output, ".h5", *FIGURES)
    if not (0 < q_from < q_to < float("inf")):
        raise StudyError(f"--q-from {q_from:g} --q-to {q_to:g} is no range of |Q|; give two positive numbers that rise")
    lengths = np.linspace(q_from, q_to, q_points)
    solver = ModeSolver(spin_model)
    require_minimum(solver, values)
    edges = _energy_edges(solver, values, energy_from, energy_to, energy_points)
    shape = Line(0.03 * float(edges[-1] - edges[0]) if width is None else width, line.value)
    with Progress(console=Console(file=sys.stderr), disable=as_json or not sys.stderr.isatty()) as bar:
        task = bar.add_task("|Q|", total=len(lengths))
        average = partial(powder_spectrum, progress=lambda done, _: bar.update(task, completed=done))
        spectrum = average(
            solver, values, lengths, edges, shape, temperature, tolerance, include_form_factor=form_factor
        )
    about = {f"parameter_{p.name}": float(v) for p, v in zip(spin_model.parameters, values, strict=True)}
    if output.suffix == ".h5":
        write_powder(spectrum, output, {"study": study, **about})
    else:
        save_figure(plot_powder(spectrum), output)
    if as_json:
        print_json(
            {
                "file": str(output),
                "model": model,
                "q_per_angstrom": lengths.tolist(),
                "energy_edges_meV": edges.tolist(),
                "largest_change": float(spectrum.change.max()),
                "directions": spectrum.directions.tolist(),
            }
        )
        return
    print(
        f"{output}: {model}, {len(lengths)} |Q| with {spectrum.directions.min()} to {spectrum.directions.max()} "
        f"directions each; the last doubling changed a spectrum by {100 * spectrum.change.max():.2g} % at most"
    )
