"""How far weights can be trusted: calibrating them, asking several together, scoring them on what is new to them."""

from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from ..dataset.coverage import CoverageLaw, random_coverage
from ..dataset.parts import WHOLE, Part, attributes_of, check_held_out, identity_of, load_misstated, load_part, open_set
from ..errors import DataError, WeightsError
from ..networks.ensemble import Ensemble
from ..networks.files import halved
from ..networks.kinds import sizes_of
from ..networks.posterior import Trunk, trunk_of
from ..plot import save_figure
from ..plot_trust import plot_reliability
from ..study import Study
from ..trust.emulator import Emulator, fit_emulator
from ..trust.held_back import calibrate as calibrate_network
from ..trust.held_back import foreign_report, instrument_report, reliability_of, report_card, scored
from ..trust.posterior import load_posterior
from ..trust.suite import Cache, run_suite
from ..trust.weights import Weights, load_weights, save_weights
from .common import (
    FIGURES,
    DatasetArgument,
    EmulatorOption,
    ForeignOption,
    InstrumentOption,
    Json,
    StudyOption,
    app,
    print_json,
    writable,
)
from .datasets import study_of
from .training import COVERAGES, current_commit

WeightsArgument = Annotated[Path, typer.Argument(metavar="WEIGHTS", help="Weights that `train` or `calibrate` wrote.")]


def _trained_on(path: Path, dataset: Path, study: Study) -> tuple[Weights, str | None]:
    """Weights, and a warning if the physics changed; refused if they may have seen what is held back here."""
    loaded, warning = load_weights(path, study)
    check_held_out(dataset, loaded.card, str(path))
    return loaded, warning


def left_out(foreign: Path | None, study: Study) -> Part | None:
    """The magnets of a foreign set that no training has seen."""
    return None if foreign is None else load_part(open_set(foreign), study, "test", foreign=True)


def misstated(instrument: Path | None, study: Study) -> Part | None:
    """The spectra of a set of an instrument that is not as stated, those that no training has seen."""
    return None if instrument is None else load_misstated(instrument, study, "test")


def coverages_of(study: Study, card: dict[str, Any]) -> torch.Tensor:
    """The coverages of detectors that weights are calibrated and scored with, (n, runs, slices, x, y)."""
    law = CoverageLaw.from_settings(card.get("coverage"))
    return random_coverage(study, COVERAGES, int(card["seed"]), law)


def _together(found: list[Weights]) -> tuple[Ensemble, dict[str, Any]]:
    """Several networks as one, and its card."""
    cards = [weights.card for weights in found]
    kinds = {str(card["kind"]) for card in cards}
    if len(kinds) > 1 or "ensemble" in kinds:
        raise WeightsError(f"an ensemble is made of networks of one kind, not of {' and '.join(sorted(kinds))}")
    for key, of_each in (
        ("nuisance", [weights.nuisance for weights in found]),
        ("coverage", [card.get("coverage") for card in cards]),
    ):
        if any(each != of_each[0] for each in of_each):
            raise WeightsError(f"these weights were trained with different settings of {key}; train them alike")
    kept = ("kind", "width", "seed", "commit", "epochs", "minutes", "settings", "foreign_families", "foreign_set",
            "instrument_set")  # fmt: skip
    members = [{k: card[k] for k in kept if k in card} for card in cards]
    own = {*kept, "scores", "foreign", "shared", "instrument", "suite"} - {"seed"}
    card = {k: v for k, v in cards[0].items() if k not in own}
    return Ensemble([weights.network for weights in found]), {"kind": "ensemble", "members": members} | card


def _trunk(path: Path | None, loaded: list[Weights], dataset: Path, study: Study) -> Trunk | None:
    """What makes the features of the distance from simulations: of a posterior, else as weights have it already."""
    if path is None:
        return next((w.calibration.manifold.trunk for w in loaded if w.calibration.manifold is not None), None)
    posterior = load_posterior(path, study)[0]
    check_held_out(dataset, posterior.card, str(path))
    return trunk_of(sizes_of(study), posterior.network.state_dict())


def _emulator(
    own: Emulator | bool, beyond: Path | None, given: Path | None, dataset: Path, train: Part, study: Study, seed: int
) -> tuple[Emulator | bool, dict[str, Any]]:
    """The emulator to calibrate with, or whether to learn one, and what the card says of it."""
    if given is not None:
        other = _trained_on(given, dataset, study)[0]
        if other.calibration.emulator is None:
            raise WeightsError(f"{given} holds no emulator; name weights that were calibrated with one")
        kept = {k: other.card[k] for k in ("beyond_set",) if k in other.card}
        made = {k: other.card.get(k) for k in ("seed", "calibrated")}
        return other.calibration.emulator, kept | {"emulator_from": other.card.get("emulator_from", made)}
    if beyond is None:
        return own, {}
    wider = load_part(open_set(beyond), study, "train", WHOLE, beyond=True)
    typer.echo(f"learning the emulator, of {len(wider.labels)} spectra beyond the priors as well", err=True)
    found = fit_emulator(study.view, train, len(study.classes), seed, wider)
    if found is None:
        raise DataError("the training set has too few spectra of a model to learn an emulator of; leave out --beyond")
    return found, {"beyond_set": identity_of(beyond)}


@app.command()
def calibrate(
    weights: Annotated[list[Path], typer.Argument(metavar="WEIGHTS...", help="One network's, or an ensemble's.")],
    dataset: DatasetArgument,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Weights to write; of one network, else its own file.")
    ] = None,
    shared: Annotated[
        Path | None,
        typer.Option("--shared", help="Another set, of spectra that models share: label sets promise to name them."),
    ] = None,
    posterior: Annotated[
        Path | None,
        typer.Option("--posterior", help="What `train posterior` wrote on this set: its features are a signal, too."),
    ] = None,
    beyond: Annotated[
        Path | None,
        typer.Option(
            "--beyond",
            help="Another set, of parameters beyond the priors (`dataset build --draws beyond`), to learn the "
            "emulator of as well.",
        ),
    ] = None,
    emulator_from: Annotated[
        Path | None,
        typer.Option("--emulator-from", help="Other weights of this training set, whose emulator is taken."),
    ] = None,
    foreign: ForeignOption = None,
    instrument: InstrumentOption = None,
    emulator: EmulatorOption = True,
    study: StudyOption = None,
    as_json: Json = False,
) -> None:
    """Calibrate and score trained weights anew, without training; several become one deep ensemble.

    An emulator in the weights is kept, unless --beyond gives it more to learn of or --emulator-from names another.
    """
    asked = {"--beyond": beyond, "--emulator-from": emulator_from, "--no-emulator": None if emulator else True}
    given = [name for name, value in asked.items() if value is not None]
    if len(given) > 1:
        raise WeightsError(f"{' and '.join(given)} contradict each other about the emulator; drop all but one")
    if output is None and len(weights) > 1:
        raise WeightsError("give the file of the ensemble with -o, ending in .safetensors")
    target = writable(output or weights[0], ".safetensors")
    found = study_of(dataset, study)
    loaded = [_trained_on(path, dataset, found)[0] for path in weights]
    network, card = (loaded[0].network, loaded[0].card) if len(loaded) == 1 else _together(loaded)
    card = card | {"calibrated": current_commit()}
    halved(network)
    network.eval()
    trunk = _trunk(posterior, loaded, dataset, found)
    seed, coverages = int(card["seed"]), coverages_of(found, card)
    parts = {name: load_part(open_set(dataset), found, name) for name in ("train", "calibration", "test")}
    both = {} if shared is None else {n: load_part(open_set(shared), found, n) for n in ("calibration", "test")}
    own = emulator and (loaded[0].calibration.emulator or True)
    learnt, of_emulator = _emulator(own, beyond, emulator_from, dataset, parts["train"], found, seed)
    card |= of_emulator
    typer.echo(f"calibrating on {len(parts['calibration'].labels)} held-back simulations", err=True)
    nuisance = loaded[0].nuisance
    calibration = calibrate_network(
        network, parts["train"], parts["calibration"], coverages, seed, found.view, nuisance, both.get("calibration"),
        trunk, learnt,
    )  # fmt: skip
    typer.echo(f"scoring on {len(parts['test'].labels)} others", err=True)
    result = scored(
        Weights(network, calibration, card), parts["test"], coverages, seed, both.get("test"),
        left_out(foreign, found), misstated(instrument, found),
    )  # fmt: skip
    save_weights(result, target)
    if as_json:
        print_json(result.card)
    else:
        print_card(result.card)


def print_card(card: dict[str, Any]) -> None:
    """What a card says of how weights do, as text."""
    print_scores(card["scores"], card["foreign"])
    if "shared" in card:
        print(f"spectra that models share: all named in {card['shared']['all_named']:.1%}")
    if "instrument" in card:
        print_instrument(card["instrument"])


def print_instrument(found: dict[str, Any]) -> None:
    """As :func:`print_scores`, of spectra of an instrument that is not as stated."""
    print("an instrument that is not as stated:")
    print_scores(found["scores"], {"its spectra": {"below_0.01": found["below_0.01"]}})


def print_scores(rows: dict[str, Any], foreign: dict[str, Any]) -> None:
    """Scores as text."""
    for name, row in rows.items():
        low, high = row["interval"]
        print(
            f"{name.replace('_', ' ')}: accuracy {row['accuracy']:.3f} ({low:.3f} to {high:.3f}, n = {row['n']}), NLL "
            f"{row['nll']:.3f}, Brier {row['brier']:.3f}, ECE {row['ece']:.3f}, label sets cover {row['coverage']:.3f}"
        )
    for name, row in foreign.items():
        area = f"AUROC {row['auroc']:.3f}, " if "auroc" in row else ""
        print(f"{name}: {area}p below 0.01 in {row['below_0.01']:.1%}")


@app.command()
def trust(
    weights: WeightsArgument,
    dataset: DatasetArgument,
    suite: Annotated[bool, typer.Option("--suite", help="Families of foreign inputs as well.")] = False,
    images: Annotated[int, typer.Option("--images", min=2, max=10000, help="Of each family of the suite.")] = 100,
    cache: Annotated[
        Path | None, typer.Option("--cache", help="Folder of simulated families; else one beside the weights.")
    ] = None,
    figure: Annotated[Path | None, typer.Option("--figure", help="Reliability diagrams to write.")] = None,
    foreign: ForeignOption = None,
    instrument: InstrumentOption = None,
    study: StudyOption = None,
    as_json: Json = False,
) -> None:
    """Score weights on the test part of their training set, which neither training nor stopping has seen."""
    if figure is not None:
        writable(figure, *FIGURES)
    found = study_of(dataset, study)
    loaded, warning = _trained_on(weights, dataset, found)
    seed, coverages = int(loaded.card["seed"]), coverages_of(found, loaded.card)
    test = load_part(open_set(dataset), found, "test")
    result: dict[str, Any] = report_card(loaded, test, coverages, seed)
    told_apart = foreign_report(loaded, test, coverages, seed, left_out(foreign, found))
    reliability = reliability_of(loaded, test, coverages, seed)
    if figure is not None:
        save_figure(plot_reliability(reliability, found.title), figure)
    told: dict[str, Any] = {"foreign": told_apart, "reliability": reliability, "warning": warning}
    other = misstated(instrument, found)
    if other is not None:
        told["instrument"] = instrument_report(loaded, other, coverages, seed)
    if suite:
        told["suite"] = _suite(loaded, dataset, found, test, coverages, images, cache or _beside(weights, found))
    if as_json:
        print_json(result | told)
        return
    if warning:
        print(f"warning: {warning}")
    print_scores(result, told_apart)
    if other is not None:
        print_instrument(told["instrument"])
    if suite:
        print_suite(told["suite"])


def _beside(weights: Path, study: Study) -> Path:
    return weights.parent / f"{study.name}-foreign"


def _suite(
    weights: Weights, dataset: Path, study: Study, test: Part, coverages: torch.Tensor, images: int, folder: Path
) -> dict[str, Any]:
    attributes = attributes_of(open_set(dataset))

    def report(line: str) -> None:
        typer.echo(line, err=True)

    cache = Cache(folder, study, int(attributes["seed"]), report)
    return run_suite(weights, study, test, coverages, attributes["resolution"], images, cache)


def print_suite(found: dict[str, Any]) -> None:
    """Figures of every family as text, a note under those that are not foreign throughout."""
    print(f"\nforeign inputs, with noise like a measurement's; {found['own']['n']} own spectra, of which "
          f"{found['own']['below_0.01']:.1%} have p < 0.01")  # fmt: skip
    print(f"{'family':>28}     n  AUROC (95 %)            FPR95  p<0.01  all K<0.5")
    for name, row in found["families"].items():
        low, high = row["interval"]
        right = f"  right label {row['accuracy']:.2f}" if "accuracy" in row else ""
        print(
            f"{name:>28}  {row['n']:>4}  {row['auroc']:.3f} ({low:.3f} to {high:.3f})  {row['fpr95']:.3f}  "
            f"{row['below_0.01']:>6.1%}  {row['k_below_half']:>8.1%}{right}"
        )
        if row["note"]:
            print(f"{'':>30}({row['note']})")
    print(f"AUROC over the families that are foreign throughout: mean {found['mean_auroc']:.3f}, least "
          f"{found['least_auroc']:.3f}; settings were chosen on others: {', '.join(found['chosen_on'])}")  # fmt: skip
