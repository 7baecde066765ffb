"""Fits by the simulator: they find the truth from the prior, their errors hold, and equals are not told apart.

Where the instrument is taken as stated, the errors are those of counting; tests of its own errors come last.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from magnoscope.errors import SpectrumError
from magnoscope.estimate import ALONE, Extras, Simulators, compare, crew_of, fit, workers_of
from magnoscope.estimate.clipped import ClippedLikelihood, seems_clipped
from magnoscope.estimate.comparison import vuong
from magnoscope.estimate.descent import Target
from magnoscope.estimate.likelihood import TileLikelihood
from magnoscope.estimate.responses import Spectra, response
from magnoscope.estimate.result import covariances
from magnoscope.estimate.sampling import Sample, adjustment, larger
from magnoscope.instrument_errors import kinds_of, run_by_run
from magnoscope.simulate import Simulator
from magnoscope.spectrum import Spectrum, counted
from magnoscope.studies import parse_study
from magnoscope.study import Study

SQUARE = (Path(__file__).parents[1] / "cli" / "square.toml").read_text()


@pytest.fixture(scope="module")
def study() -> Study:
    return parse_study(SQUARE.replace("slices = 2", "slices = 6"))


@pytest.fixture(scope="module")
def simulators(study: Study) -> Simulators:
    return Simulators(study)


@pytest.fixture(scope="module")
def simulator(simulators: Simulators) -> Simulator:
    return simulators.fine


def measured(simulator: Simulator, seed: int, model: str = "near", counts: float = 20, **values: float) -> Spectrum:
    """Counts, each slice scaled and lifted by another number."""
    rng = np.random.default_rng(seed)
    found = counted(simulator(model, values), counts, seed)
    scale, lift = rng.uniform(0.5, 2, (2, *found.study.shape[:2], 1, 1))
    return replace(found, signal=scale * found.signal + lift, error=None)


def test_scale_and_background_of_a_slice_are_free(simulator: Simulator):
    found = measured(simulator, 0)
    likelihood = TileLikelihood.of(found)
    model = simulator.signal("near", simulator.study.model("near").reference)
    one = likelihood.profile(likelihood.simulated(model))
    two = likelihood.profile(likelihood.simulated(3 * model + 7))
    assert two.total == pytest.approx(one.total, abs=1e-6)
    assert np.allclose(two.scale * 3, one.scale)


def test_a_slice_without_signal_is_not_made_to_have_some(simulator: Simulator):
    found = measured(simulator, 0)
    signal = simulator.signal("near", simulator.study.model("near").reference)
    # the faintest copy of what is measured in a slice of which the simulation has nothing
    signal[0, 3] = 1e-9 * np.nan_to_num(found.signal[0, 3])
    likelihood = TileLikelihood.of(found)
    laid = likelihood.profile(likelihood.simulated(signal))
    assert laid.pull is not None
    assert laid.scale[3] == pytest.approx(laid.pull.centre[3], rel=0.01)
    assert np.std((laid.scale[3] * likelihood.simulated(signal))[3]) < 1e-4 * np.std(found.signal[0, 3])
    # what is seen well has a scale of its own
    others = laid.scale[:3] / laid.pull.centre[:3]
    assert np.ptp(others) > 0.1


def test_an_envelope_that_falls_is_no_matter_of_the_model(simulator: Simulator):
    signal = simulator.signal("near", simulator.study.model("near").reference)
    spectrum = measured(simulator, 0)
    rng, position = np.random.default_rng(0), np.linspace(0, 1, len(signal[0]))[:, None, None]
    noise = 0.1 * signal.mean() * rng.standard_normal(signal.shape)
    falls = {}
    for fall in (0.0, 0.6, 1.2):
        found = np.where(spectrum.valid, signal * np.exp(-fall * position) + noise, np.nan)
        likelihood = TileLikelihood.of(replace(spectrum, signal=found))
        laid = likelihood.profile(likelihood.simulated(signal))
        assert laid.pull is not None
        lit = laid.scale > 0.1
        falls[fall] = float(laid.pull.fall[0])
        # all of it is in the envelope: no scale of a slice is pulled elsewhere
        assert np.allclose(laid.pull.centre[lit], laid.scale[lit], rtol=0.25)
    assert falls[0.0] < falls[0.6] < falls[1.2]
    assert falls[0.6] == pytest.approx(0.6, abs=0.2)


def test_the_projected_change_is_the_change_of_the_residual(simulator: Simulator):
    found = measured(simulator, 1)
    likelihood = TileLikelihood.of(found)
    reference = simulator.study.model("near").reference
    model = likelihood.simulated(simulator.signal("near", reference))
    change = likelihood.simulated(simulator.signal("near", reference + [0.02, 0])) - model
    here, there = likelihood.profile(model), likelihood.profile(model + change)
    projected = likelihood.project(here, model, change)
    # Kaufman leaves out a part along the model itself; what is left must agree in direction and size
    actual = here.residual - there.residual
    for a, b in zip(projected, actual, strict=True):
        assert np.corrcoef(a, b)[0, 1] > 0.9


def test_a_fit_finds_the_truth_from_the_prior(study: Study, simulators: Simulators, simulator: Simulator):
    truth = {"J": -3.3, "D": -0.15}
    found = fit(measured(simulator, 2, **truth), "near", simulators=simulators, draws=16, as_stated=True)
    for estimate in found.estimates:
        assert estimate.constrained
        assert abs(estimate.value - truth[estimate.name]) < 4 * estimate.error
        assert estimate.interval_68[0] >= estimate.interval_90[0] and estimate.interval_68[1] <= estimate.interval_90[1]
    assert found.estimates[0].error < 0.05 * 2.0  # J to a twentieth of its prior
    assert found.warning is None
    assert found.as_dict()["parameters"]["J"]["mean"] == pytest.approx(found.parameters["J"])


def test_errors_hold(study: Study, simulators: Simulators, simulator: Simulator):
    # pulls of 24 fits to noisy copies: their spread is that of a unit normal (0.7 to 1.35 holds 48 of them at 99.9 %)
    truth = {"J": -4.2, "D": -0.08}
    pulls = []
    for seed in range(24):
        start = study.model("near").values(truth)
        found = fit(measured(simulator, 100 + seed, **truth), "near", start, simulators, draws=0, as_stated=True)
        pulls += [(e.value - truth[e.name]) / e.error for e in found.estimates]
    assert 0.6 < np.std(pulls) < 1.4
    assert abs(np.mean(pulls)) < 0.6


def test_the_right_candidate_is_preferred_and_a_wrong_one_is_warned_of(
    study: Study, simulators: Simulators, simulator: Simulator
):
    found = measured(simulator, 3, "far", counts=60, J1=-2.5, J2=-1.2)
    result = compare([fit(found, model, simulators=simulators, draws=16, as_stated=True) for model in study.classes])
    assert next(iter(result.fits)) == "far"
    assert result.evidence["near"] < -20
    for half in result.halves:
        blocks = [f.blocks for f in result.fits.values()]
        assert sum(half.ratios) == pytest.approx((blocks[0] - blocks[1]).sum())
    assert "fields of pixels" in [half.name for half in result.halves]
    assert result.preferred in ("far", None)
    noise = replace(found, signal=np.random.default_rng(0).normal(5, 1, found.signal.shape))
    assert "unexplained" in str(fit(noise, "near", simulators=simulators, draws=8, as_stated=True).warning)


def test_equal_candidates_are_not_told_apart():
    twice = SQUARE.replace("slices = 2", "slices = 6")
    start, end = twice.index("[models.far.parameters]"), twice.index("[instrument]")
    near = twice[twice.index("[models.near.parameters]") : start]
    same = parse_study(twice[:start] + near.replace("models.near", "models.also") + twice[end:])
    simulators = Simulators(same)
    simulator = simulators.fine
    found = measured(simulator, 4, counts=100, J=-3.6, D=-0.1)
    result = compare(
        [
            fit(found, model, simulators=simulators, seed=n, draws=16, as_stated=True)
            for n, model in enumerate(same.classes)
        ]
    )
    assert result.preferred is None
    assert "neither can be preferred" in result.sentence
    assert result.p_value > 0.05


def clipped(simulator: Simulator, seed: int, level: float = 0.15, **values: float) -> tuple[Spectrum, Spectrum]:
    """A simulation with even noise about zero background, as it was, and with its negative values set to zero."""
    rng, found = np.random.default_rng(seed), simulator("far", values)
    noise = level * np.nanmax(found.signal) * rng.standard_normal(found.signal.shape)
    whole = replace(found, signal=found.signal + noise)
    return whole, replace(whole, signal=np.maximum(whole.signal, 0))


def test_clipped_spectra_are_known(simulator: Simulator):
    whole, cut = clipped(simulator, 0, J1=-2.2, J2=-1.4)
    assert np.mean(cut.signal[cut.valid] == 0) > 0.2
    assert seems_clipped(cut) and not seems_clipped(whole)
    # zeros of counts are measurements
    counts = measured(simulator, 0, "far", counts=2)
    counts = replace(counts, signal=counts.signal - np.nanmin(counts.signal, (2, 3), keepdims=True))
    assert np.mean(counts.signal[counts.valid] == 0) > 0.05 and not seems_clipped(counts)


def test_scale_and_noise_are_those_of_the_spectrum_before_it_was_clipped(simulator: Simulator):
    whole, cut = clipped(simulator, 1, J1=-2.2, J2=-1.4)
    likelihoods = TileLikelihood.of(whole), ClippedLikelihood.of(cut), TileLikelihood.of(cut)
    model = simulator.signal("far", np.array([-2.2, -1.4]))
    right, found, naive = (each.profile(each.simulated(model)) for each in likelihoods)
    lit = [n for n, t in enumerate(likelihoods[0].tiles) if t < 3]  # higher slices hold next to nothing
    scale = right.scale[lit]
    assert np.all(abs(found.scale[lit] - scale) < 0.1 * scale)
    # taken for measurements, zeros make the scale too small, the more of them the more
    assert np.all(naive.scale[lit] < scale) and np.mean(naive.scale[lit] / scale) < 0.93
    assert np.all(abs(found.scale[lit] - scale) < 0.5 * abs(naive.scale[lit] - scale))
    noise = np.sqrt(found.mean_square - likelihoods[1].floor), np.sqrt(right.mean_square - likelihoods[0].floor)
    assert np.allclose(*(each[lit] for each in noise), rtol=0.12)


def test_the_slope_of_a_clipped_likelihood_is_that_of_its_values(simulator: Simulator):
    _, cut = clipped(simulator, 2, J1=-2.2, J2=-1.4)
    likelihood = ClippedLikelihood.of(cut)
    model = likelihood.simulated(simulator.signal("far", np.array([-2.2, -1.4])))
    change = likelihood.simulated(simulator.signal("far", np.array([-2.15, -1.4]))) - model
    here, ahead, behind = (likelihood.profile(model + x * change) for x in (0.0, 0.1, -0.1))
    expected = (ahead.log_likelihood - behind.log_likelihood) / 0.2
    gradient, _ = likelihood.gradient(here, model, [change])
    slope = gradient.reshape(len(likelihood.tiles), -1).sum(1)
    # where there is little to see the scale is the run's, which moves with the other slices
    assert np.allclose(slope[:3], expected[:3], atol=0.05 * np.abs(expected).max())
    assert slope.sum() == pytest.approx(expected.sum(), rel=0.05)
    assert likelihood.block_log_likelihood(here).shape == (24,)


@pytest.mark.parametrize("cut", [False, True])
def test_noise_that_grows_as_that_of_counts_is_found(simulator: Simulator, cut: bool):
    values, rng = np.array([-2.2, -1.4]), np.random.default_rng(5)
    signal = simulator.signal("far", values)
    seen = simulator.reachable
    variance = 0.04 * signal[seen].mean() * (signal[seen].mean() + 2 * signal)
    noisy = signal + np.sqrt(variance) * rng.standard_normal(signal.shape)
    noisy = np.where(seen, np.maximum(noisy, 0) if cut else noisy, np.nan)
    even = (ClippedLikelihood if cut else TileLikelihood).of(Spectrum(simulator.study, noisy, seen))
    model = even.simulated(signal)
    grown = even.counting(model)
    assert grown.uneven is not None
    valid, own = even.valid.reshape(model.shape), even.simulated(np.log(variance))
    own -= ((valid * own).sum(1) / valid.sum(1))[:, None]
    right, found = (valid * a for a in (own, np.log(grown.uneven)))
    assert np.allclose(found.sum(1), 0, atol=1e-9)
    # so many pixels know it to a fifth in a slice
    lit = right.std(1) > 0.2
    assert lit.sum() >= 3
    share = (found * right).sum(1)[lit] / (right**2).sum(1)[lit]
    assert np.mean(share) == pytest.approx(1, abs=0.2) and np.all(abs(share - 1) < 0.5)
    assert grown.profile(model).total > even.profile(model).total + 10
    again = grown.counting(model)
    assert again.uneven is not None and np.allclose(again.uneven, grown.uneven, rtol=0.05)


def test_a_clipped_spectrum_biases_nothing(simulators: Simulators, simulator: Simulator):
    truth = np.array([-2.2, -1.4])
    pulls = []
    for seed in range(4):
        _, cut = clipped(simulator, 10 + seed, J1=-2.2, J2=-1.4)
        found = fit(cut, "far", truth, simulators, draws=0, as_stated=True)
        assert found.clipped and found.as_dict()["clipped_at_zero"]
        pulls += [(e.value - t) / e.error for e, t in zip(found.estimates, truth, strict=True)]
    assert np.sqrt(np.mean(np.square(pulls))) < 1.8  # eight unit normals: 1.8 is passed once in 2000


def test_a_network_that_says_otherwise_is_heard(study: Study, simulators: Simulators, simulator: Simulator):
    found = measured(simulator, 8, "far", J1=-2.5, J2=-1.2)
    fits = [fit(found, m, study.model(m).reference, simulators, draws=0, as_stated=True) for m in study.classes]
    one = replace(compare(fits), preferred="far")
    assert one.disagreement("far", ("far",)) is None
    assert one.disagreement("near", ("near",)) == "the network names near, the fits prefer far"
    assert one.disagreement(None, ("far",)) == "the network names no model, the fits prefer far"
    even = replace(one, preferred=None)
    assert even.disagreement("far", ("far", "near")) is None
    assert even.disagreement("far", ("far",)) == "the network names far, the fits prefer neither"


def test_vuong_asks_for_more_than_the_scatter():
    rng = np.random.default_rng(0)
    steady, wild = 10 + rng.normal(0, 1, 40), 1 + rng.normal(0, 30, 40)
    assert vuong(steady, float(steady.sum())) < 1e-6
    assert vuong(wild, float(wild.sum())) > 0.05
    assert vuong(np.zeros(40), 0.0) == 1.0


def test_nothing_to_fit_is_said(study: Study):
    nowhere = np.zeros(study.shape, bool)
    blank = Spectrum(study, np.full(study.shape, np.nan), nowhere)
    with pytest.raises(SpectrumError, match="nothing can be fitted, check the mask"):
        fit(blank, "near")


def test_draws_about_a_fit_are_those_of_its_errors(study: Study, simulators: Simulators, simulator: Simulator):
    found = measured(simulator, 5, "far", J1=-2.2, J2=-1.4)
    start = np.array([-2.2, -1.4])
    bare = fit(found, "far", start, simulators, draws=0, as_stated=True)
    drawn = fit(found, "far", start, simulators, draws=0, as_stated=True, extras=Extras(samples=300))
    assert drawn.sample is not None and drawn.sample.effective > 100
    for a, b in zip(bare.estimates, drawn.estimates, strict=True):
        assert b.error == pytest.approx(a.error, rel=0.35)
        assert abs(b.value - a.value) < 0.5 * a.error
        assert b.interval_90[0] < b.interval_68[0] < b.interval_68[1] < b.interval_90[1]
    assert drawn.as_dict()["effective_sample_size"] == drawn.sample.effective


def test_a_likelihood_is_adjusted_to_the_errors():
    rng = np.random.default_rng(0)
    one, other = (a @ a.T for a in rng.normal(size=(2, 4, 4)))
    power, turn = adjustment(one, other)
    assert np.linalg.det(turn) == pytest.approx(1)
    assert power**4 == pytest.approx(np.linalg.det(one) / np.linalg.det(other))
    assert power * turn.T @ np.linalg.inv(one) @ turn == pytest.approx(np.linalg.inv(other))
    # errors that are larger by one factor leave all in its place
    power, turn = adjustment(one, 7 * one)
    assert power == pytest.approx(1 / 7) and turn == pytest.approx(np.eye(4), abs=1e-6)


def test_draws_are_never_narrower_than_counting_allows():
    rng = np.random.default_rng(4)
    one, other = (a @ a.T for a in rng.normal(size=(2, 3, 3)))
    both = larger(one, other)
    for each in (one, other):
        assert np.linalg.eigvalsh(both - each).min() > -1e-9
    # as small as that allows: along each of three directions it is one of the two
    assert np.sort(np.linalg.eigvals(np.linalg.solve(one, both)).real)[0] == pytest.approx(1)
    assert np.allclose(larger(one, 2 * one), 2 * one) and np.allclose(larger(one, 0.5 * one), one)
    # of one size along the parameters, but smaller across them: no power above one
    narrow = np.array([[1.0, 0.9], [0.9, 1.0]])
    assert adjustment(np.eye(2), narrow)[0] > 1 > adjustment(np.eye(2), larger(np.eye(2), narrow))[0]


def test_a_crew_keeps_the_order_and_changes_nothing(study: Study, simulators: Simulators, simulator: Simulator):
    with crew_of(3) as crew:
        assert crew.map(lambda n: n * n, range(20)) == [n * n for n in range(20)]
        found, start = measured(simulator, 5, "far", J1=-2.2, J2=-1.4), np.array([-2.3, -1.5])
        fits = [fit(found, "far", start, simulators, draws=0, as_stated=True, crew=c) for c in (ALONE, crew)]
    assert fits[0].parameters == fits[1].parameters and fits[0].simulations == fits[1].simulations
    assert workers_of(3) == 3 and 1 <= workers_of(None) <= 4


def test_weighted_draws_know_the_end_of_a_prior():
    weighted = Sample(np.array([[0.0], [1.0], [2.0]]), np.array([0.25, 0.5, 0.25]))
    assert weighted.mean == pytest.approx([1.0]) and weighted.covariance == pytest.approx(np.array([[0.5]]))
    assert weighted.effective == pytest.approx(1 / 0.375)
    assert weighted.quantile(0.5) == pytest.approx([1.0])


def test_a_wrong_energy_zero_is_found_and_biases_nothing(study: Study, simulators: Simulators):
    truth = np.array([-2.2, -1.4])
    amounts = np.zeros((len(kinds_of(study)), 1))
    amounts[0] = 0.8
    signal = simulators.about(amounts).signal("far", truth)
    seen = simulators.fine.reachable
    found = counted(Spectrum(study, np.where(seen, signal, np.nan), seen), 60, 0)
    wrong = fit(found, "far", truth, simulators, draws=0, as_stated=True)
    right = fit(found, "far", truth, simulators, draws=0)
    pulls = [[abs(e.value - t) / e.error for e, t in zip(f.estimates, truth, strict=True)] for f in (wrong, right)]
    assert max(pulls[0]) > 5 and max(pulls[1]) < 3.5
    zero = next(e for e in right.instrument if e.name == "energy zero")
    assert zero.unit == "meV" and zero.ei == 50
    assert zero.size == pytest.approx(0.8, abs=4 * zero.error + 0.05)
    assert zero.value == pytest.approx(zero.size * 0.016 * 50)
    assert right.total > wrong.total + 10
    assert right.as_dict()["instrument"][0]["name"] == "energy zero"


def test_the_response_is_that_of_simulations(study: Study, simulators: Simulators):
    values, kinds = study.model("far").reference, len(kinds_of(study))
    found, number = response(simulators, "far", values, np.zeros(0), 1.0)
    assert number == 1 + 2 * kinds
    base = simulators.changed(np.zeros((kinds, 1))).signal("far", values)
    for kind, size in ((0, 0.6), (1, -0.7), (2, 1.5), (3, 1.5), (4, 0.7), (5, -0.7)):
        amounts = np.zeros((kinds, 1))
        amounts[kind] = size
        changed = simulators.changed(amounts).signal("far", values)
        sizes = np.zeros(len(found.errors))
        sizes[kind] = size
        left = np.linalg.norm(base + found.change(sizes) - changed)
        assert left < 0.25 * np.linalg.norm(base - changed)
        step = 1e-4 * np.eye(len(sizes))[kind]
        slope = (found.change(sizes + step) - found.change(sizes - step)) / 2e-4
        assert np.allclose(found.slope(kind, sizes), slope, atol=1e-6)


def test_errors_are_those_of_the_response_where_the_fit_ended():
    study = parse_study(SQUARE.replace("slices = 2", "slices = 5").replace("points = 12", "points = 14"))
    simulators, rng = Simulators(study), np.random.default_rng(3)
    spectra = Spectra(study, "far", simulators.about)
    truth, sizes = np.array([-2.2, -1.4]) + 0.3 * rng.uniform(-1, 1, 2), rng.standard_normal(6)
    sizes[2:4] = abs(sizes[2:4])
    seen = simulators.fine.reachable
    spectrum = counted(Spectrum(study, np.where(seen, spectra(truth, sizes), np.nan), seen), 20.0, 3)
    found = fit(spectrum, "far", truth, simulators, draws=0)

    values = np.array([e.value for e in found.estimates])
    ended = np.array([e.size for e in found.instrument])
    fresh = response(simulators, "far", values, ended, 0.3)[0]
    target = Target(TileLikelihood.of(spectrum), spectra, study.model("far").prior, fresh)
    signal = spectra(values, ended)
    target = replace(target, likelihood=target.likelihood.counting(target.seen(values, ended, signal).model))
    errors = np.sqrt(np.diag(covariances(target.curvature(target.seen(values, ended, signal)))[0])) * target.units
    assert [e.statistical for e in found.estimates] == pytest.approx(errors[:2], rel=0.05)


def test_errors_that_are_never_negative_are_climbed_by_their_logarithm(study: Study, simulators: Simulators):
    found, _ = response(simulators, "far", study.model("far").reference, np.zeros(0), 1.0)
    assert found.positive.tolist() == [False, False, True, True, False, False]
    assert found.prior(found.usual)[1] == pytest.approx(np.zeros(6))
    sizes = np.array([0.5, -1.0, 0.3, 2.0, 0.1, -0.2])
    _, slope, bend = found.prior(sizes)
    for number, step in enumerate(1e-4 * np.eye(6)):
        (above, up, _), (below, down, _) = found.prior(sizes + step), found.prior(sizes - step)
        assert slope[number] == pytest.approx((above - below) / 2e-4, abs=1e-6)
        assert bend[number] == pytest.approx(-(up - down)[number] / 2e-4, abs=1e-4)
    # the half of a normal density has its mean at 0.80: nearer to the peak of its logarithm's density than to zero
    assert found.usual[2] - 0.8 < 0.8 and found.bounds[2, 0] > 0


def test_spectra_are_simulated_with_their_errors(study: Study, simulators: Simulators):
    values, spectra = study.model("far").reference, Spectra(study, "far", simulators.about)
    sizes = np.array([0.5, -0.3, 0.4, 0.7, 0.0, 0.0])
    exact = simulators.about(sizes[:, None]).signal("far", values)
    assert np.array_equal(spectra(values, sizes), exact)
    # what is kept of the study as it stands gives what the changed study gives when it is prepared afresh
    (changed,) = run_by_run(study, sizes[:, None])
    afresh = Simulator(changed).signal("far", values)
    assert np.linalg.norm(exact - afresh) < 2e-3 * np.linalg.norm(afresh)
    assert np.array_equal(
        simulators.fine.with_runs([study]).signal("far", values), simulators.fine.signal("far", values)
    )


def test_an_image_that_is_moved_by_a_pixel_is_that_pixel_beside(study: Study, simulators: Simulators):
    values, spectra = study.model("far").reference, Spectra(study, "far", simulators.about)
    moved = spectra(values, np.array([0.0, 0.0, 0.0, 0.0, 2.0, 0.0]))[:, :, 1:]
    plain = simulators.fine.signal("far", values)[:, :, :-1]
    assert np.linalg.norm(moved - plain) < 1e-3 * np.linalg.norm(plain)


def test_modes_that_are_wider_than_stated_are_found(study: Study, simulators: Simulators):
    truth = np.array([-2.2, -1.4])
    amounts = np.zeros((len(kinds_of(study)), 1))
    amounts[3] = 3.0
    signal = simulators.about(amounts).signal("far", truth)
    seen = simulators.fine.reachable
    found = counted(Spectrum(study, np.where(seen, signal, np.nan), seen), 100, 0)
    right = fit(found, "far", truth, simulators, draws=0, extras=Extras(samples=24))
    # what of the instrument was wrong follows the draws: they are about the truth, and more than a few of them count
    assert right.sample is not None and right.sample.effective > 6
    assert np.all(abs(right.sample.mean - truth) < 0.15)
    pulls = [abs(e.value - t) / e.error for e, t in zip(right.estimates, truth, strict=True)]
    assert max(pulls) < 3.5
    wide = next(e for e in right.instrument if e.name == "width of a mode")
    assert wide.unit.startswith("% of a run's highest") and wide.value == pytest.approx(2 * wide.size**0.5)
    assert abs(wide.size - 3) < 4 * wide.error


def test_halves_agree_within_their_errors(simulators: Simulators):
    wide = parse_study(SQUARE.replace("slices = 2", "slices = 4").replace("points = 12", "points = 24"))
    own = Simulators(wide)
    found = measured(own.fine, 6, "far", J1=-2.4, J2=-1.3)
    extras = Extras(halves=True)
    result = fit(found, "far", np.array([-2.4, -1.3]), own, draws=0, as_stated=True, extras=extras)
    names = [each.name for each in result.halves]
    assert names == ["fields of pixels", "mirror images along axis 0", "mirror images along axis 1"]
    for each in result.halves:
        assert np.all(abs(each.differences) < 4)
        assert np.all(each.errors > [e.statistical for e in result.estimates])
    assert result.as_dict()["halves"][0]["differences_in_errors"] == result.halves[0].differences.tolist()


def test_a_parameter_that_changes_nothing_is_said_to(study: Study):
    # a Dzyaloshinskii-Moriya vector at right angles to a ferromagnet's moment has no part in its linear spin waves
    text = SQUARE.replace('exchange = "J1"', 'exchange = { heisenberg = "J1", dm = ["X", 0, 0] }')
    text = text.replace("J1 = {", "X = { reference = 0.05, prior = [0, 0.1] }\nJ1 = {")
    idle = Simulators(parse_study(text))
    found = measured(idle.fine, 7, "far", J1=-2.4, J2=-1.3)
    result = fit(found, "far", np.array([0.05, -2.4, -1.3]), idle, draws=0, as_stated=True, extras=Extras(samples=60))
    assert "X changes nothing in this spectrum" in str(result.warning)
    assert not result.estimates[0].constrained and result.estimates[0].interval_90 == (0, 0.1)
    assert result.estimates[1].constrained
