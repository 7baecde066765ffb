"""Cleaning and evidence (figure 7): the published autoencoder and map beside ours, and the slice that counts most."""

import contextlib
from pathlib import Path

from matplotlib.figure import Figure

from ..cleaning import Cleaner, held_out, load_cleaner, shipped_cleaner
from ..errors import MagnoscopeError, WeightsError
from ..explain import Explanation, explain
from ..networks.files import read_file
from ..networks.kinds import KINDS
from ..plot_clean import plot_cleaning_and_evidence
from ..simulate import Simulator
from ..spectrum import Spectrum
from ..study import Study
from ..verdict import classify
from .published import Published, named_slices
from .rows import Row, Trained

PUBLISHED_CLEANER, OUR_CLEANER = "autoencoder-published", "cleaner"
METHODS = {"pooled": ("gradcam", PUBLISHED_CLEANER), "compact": ("shapley", None), "additive": ("evidence", None)}
"""How each kind's evidence is worked out, and on what the published one needs cleaned first."""


def cleaners_of(study: Study, folder: Path | None) -> dict[str, Cleaner]:
    """By kind, the first cleaner of each in a folder of weights; that which ships, if the folder has none of its kind.

    Raises
    ------
    WeightsError
        If a file of the folder cannot be read.
    """
    found: dict[str, Cleaner] = {}
    paths = sorted(folder.glob("*.safetensors")) if folder is not None else []
    with contextlib.suppress(WeightsError):
        paths.append(shipped_cleaner(study))
    for path in paths:
        kind = str(read_file(path, study)[2].get("kind"))
        if kind in KINDS and KINDS[kind].cleans:
            found.setdefault(kind, load_cleaner(path, study)[0])
    return found


def _place(explanation: Explanation) -> str:
    """The slice with the largest share for the candidate, in words."""
    rows = explanation.as_dict()["slices"]
    best = max(rows, key=lambda row: row["share"])
    low, high = best["energy_meV"]
    return f"Ei {best['ei_meV']:g} meV, {low:.1f} to {high:.1f} meV ({best['share']:.0%})"


def _rank_row(explanation: Explanation, at: tuple[int, int], rank: str, where: str) -> Row:
    """Where a slice stands that the publication names, by the size of its share."""
    study, (r, s) = explanation.spectrum.study, at
    place, share = 1 + explanation.ordered().index(at), float(explanation.shares[at])
    low, high = study.energy_edges[r, s : s + 2]
    what = f"rank of Ei {study.runs[r].ei:g} meV, {low:.1f} to {high:.1f} meV: {where}"
    return Row(what, rank, f"{place} of {explanation.shares.size} ({share:+.1%})", f"for {explanation.name}")


def cleaned_by(cleaners: dict[str, Cleaner], measured: Spectrum | None) -> dict[str, Spectrum]:
    """What each cleaner makes of the measurement."""
    return {} if measured is None else {kind: cleaner(measured) for kind, cleaner in cleaners.items()}


def cleaning_rows(
    study: Study,
    nets: list[Trained],
    cleaners: dict[str, Cleaner],
    measured: Spectrum | None,
    cleaned: dict[str, Spectrum],
    numbers: Published,
) -> tuple[list[Row], Figure | None]:
    """Rows and figure; what is missing says how to make it.

    Parameters
    ----------
    cleaned : dict
        Of :func:`cleaned_by`.
    """
    if measured is None:
        return [], None
    rows, told = [], {}
    for kind in (PUBLISHED_CLEANER, OUR_CLEANER):
        if kind not in cleaners:
            how = f"magnoscope train {kind} {study.name}-montecarlo.zarr -o {kind}.safetensors"
            rows.append(Row(f"cleaning: {kind}", "", "", how))
            continue
        halves = held_out(cleaners[kind], measured)
        if halves is not None:
            said = f"{halves.cleaned:.3f}, raw {halves.raw:.3f}"
            rows.append(Row(f"correlation with hidden mirror pixels: {kind}", "", said, f"{halves.tiles} tiles"))
    simulator, named = Simulator(study), named_slices(numbers, study)
    for net in nets:
        if net.weights is None or net.kind not in METHODS or net.kind in told:
            continue
        method, needs = METHODS[net.kind]
        spectrum = cleaned.get(needs, measured) if needs else measured
        where = f"{net.kind}, {method}, {'cleaned' if spectrum is not measured else 'raw'}"
        try:
            verdict = classify(spectrum, net.weights, simulator)
            told[net.kind] = (where, explain(verdict, net.weights, method=method))
        except MagnoscopeError as error:
            rows.append(Row(f"most important slice: {where}", numbers.important, "", str(error)))
            continue
        explanation = told[net.kind][1]
        said = f"for {explanation.name}"
        rows.append(Row(f"most important slice: {where}", numbers.important, _place(explanation), said))
        rows += [_rank_row(explanation, at, rank, where) for at, rank in named.items()]
    if not cleaned and not told:
        return rows, None
    return rows, plot_cleaning_and_evidence(measured, cleaned, dict(told.values()), named)
