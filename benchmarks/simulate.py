"""CPU-seconds an image, where they go, and how far an image is from a converged one.

usage: python benchmarks/simulate.py [--sets 10] [--repeats 3] [--stages] [--cost] [--tolerance 0.02] [--converged]
       python benchmarks/simulate.py --sets 1 --hundredfold
       python benchmarks/simulate.py --plot docs/figures/convergence.png

One thread. Prints, for each resolution method: seconds to prepare a study, CPU-seconds an image over random stable
parameter sets of both models (the least of the repeats of each: other programs can only add), the floor, which is the
diagonalisation alone, and the ratio to it. With --stages where the time goes; with --cost how it grows with points,
sites and grid, and what modes that disperse along every direction cost; with --tolerance the cost of `simulate
--tolerance`; with --converged the relative L2 distance of the default image from one with 13 times the fine points (and
five Gaussians in the pulse; with --draws also 16 draws a mode that keep a tenth of the covariance), and what the window
about a spot adds to it; with --hundredfold from one with 100 times the fine points. Images per second on a GPU where
there is one. Peak memory comes last. With --plot nothing but a figure of distances from an image with 60 points a zone.
"""

import argparse
import cProfile
import pstats
import resource
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from magnoscope.dataset.draws import candidates
from magnoscope.machine import keep_memory
from magnoscope.resolution import landing
from magnoscope.simulate import Sampling, Simulator, converged
from magnoscope.spinwave import is_stable
from magnoscope.studies import load_study, parse_study

METHODS = ("gaussian", "montecarlo", "none")
WIDE = 4.0
"""Standard deviations that a window about a spot reaches where it is to make no difference."""
STAGES = {
    "solve": "diagonalisation (the floor)",
    "_group_matrix": "intensities summed over sites and modes",
    "listed": "modes brought to every point",
    "intensity": "S_perp with form factor at each point",
    "hidden": "l of each mode",
    "covariance": "resolution at each mode",
    "components": "the pulse's parts",
    "_add": "spots shared out to pixels and slices",
    "cut": "of this, to pixels",
}


def stable_sets(simulator: Simulator, number: int) -> list[tuple[str, np.ndarray]]:
    """Random stable parameter sets, the classes in turn."""
    sets = []
    for index in range(number):
        class_index = index % len(simulator.study.classes)
        name = simulator.study.classes[class_index]
        solver = simulator.solver(name)
        sets.append((name, next(v for v in candidates(solver, 99, class_index, index) if bool(is_stable(solver, v)))))
    return sets


def least(job: Callable[[], object], repeats: int) -> float:
    """Least CPU-seconds of a few repeats."""
    times = []
    for _ in range(repeats):
        started = time.process_time()
        job()
        times.append(time.process_time() - started)
    return min(times)


def speed(study, arguments) -> None:
    for method in METHODS:
        started = time.process_time()
        simulator = Simulator(study, method)
        prepared = time.process_time() - started
        times, floors = [], []
        for name, values in stable_sets(simulator, arguments.sets):
            times.append(least(lambda s=simulator, n=name, v=values: s.signal(n, v), arguments.repeats))
            zone = simulator._planes[name][0].zone
            solver = simulator.solver(name)
            floors.append(least(lambda s=solver, v=values, q=zone: s.solve(v, q), arguments.repeats))
        print(
            f"{method:>10}: prepare {prepared:.1f} s, image {np.median(times):.2f} CPU-s (median of {len(times)}; "
            f"{min(times):.2f} to {max(times):.2f}); floor {np.median(floors):.3f}, ratio "
            f"{np.median(times) / np.median(floors):.0f}",
            flush=True,
        )
        if arguments.stages:
            profile = cProfile.Profile(time.process_time)
            profile.runcall(simulator.signal, name, values)
            found = {key[2]: row for key, row in pstats.Stats(profile).stats.items() if key[2] in STAGES}
            total = pstats.Stats(profile).total_tt
            for key, words in STAGES.items():
                if key in found:
                    print(f"{'':>14}{100 * found[key][3] / total:5.1f} %  {words}")


def cost(study) -> None:
    name = study.classes[0]
    reference = study.models[name].reference
    for points in (10, 20, 40):
        simulator = Simulator(study, "gaussian", Sampling(zone_points=points))
        print(f"{points} points a zone: {least(lambda s=simulator: s.signal(name, reference), 3):.2f} CPU-s")
    for runs in (1, 3, 6):
        simulator = Simulator(replace(study, runs=study.runs[:runs]), "gaussian")
        print(f"{runs} runs: {least(lambda s=simulator: s.signal(name, reference), 3):.2f} CPU-s")
    simulator = Simulator(study, "gaussian")
    flat = simulator.signal(name, reference)
    simulator._flat[name] = None
    images = []
    seconds = least(lambda: images.append(simulator.signal(name, reference)), 1)
    print(
        f"the same as if modes dispersed along every direction: {seconds:.1f} CPU-s, relative L2 distance from the "
        f"image above {np.linalg.norm(images[0] - flat) / np.linalg.norm(flat):.4f}"
    )


def ferromagnet(cells: int) -> str:
    """A study file of one square-lattice ferromagnet, on a magnetic cell of cells x cells of its own."""
    positions = [[i / cells, j / cells, 0] for i in range(cells) for j in range(cells)]
    return f"""
name = "square"
lattice = {{ a = 4.0, b = 4.0, c = 10.0 }}
orientation = {{ u = [0, 0, 1], v = [1, 0, 0] }}
magnetic_cell = {{ supercell = [{cells}, {cells}, 1] }}
[[sites]]
name = "Mn"
ion = "Mn2+"
spin = 1.0
moment = [0, 0, 1]
positions = {positions}
[models.one.parameters]
J = {{ reference = -4.0, prior = [-5, -3] }}
[[models.one.bonds]]
exchange = "J"
between = [["Mn", "Mn"]]
vectors = [[{1 / cells}, 0, 0], [0, {1 / cells}, 0]]
[instrument]
preset = "maps-v1"
package = "S"
sample_size_mm = [10, 10, 10]
[[runs]]
ei = 70
frequency = 250
energy_bin = 0.35
[view]
kind = "maps"
energy_fractions = {{ from = 0.1, to = 0.7, slices = 10 }}
axes = [
    {{ name = "h", direction = [1, 0, 0], from = -1, to = 1, points = 40 }},
    {{ name = "k", direction = [0, 1, 0], from = -1, to = 1, points = 40 }},
]
hidden = {{ name = "l", direction = [0, 0, 1] }}
"""


def cost_of_sites() -> None:
    """The same magnet and the same fine points on larger cells: what more sites cost, and that they change nothing."""
    first = None
    for cells in (1, 2, 4):
        study = parse_study(ferromagnet(cells))
        simulator = Simulator(study, "gaussian", Sampling(zone_points=80 // cells))
        reference = study.models["one"].reference
        seconds = least(lambda s=simulator, r=reference: s.signal("one", r), 3)
        image = simulator.signal("one", reference) / cells**2
        first = image if first is None else first
        away = np.linalg.norm(image - first) / np.linalg.norm(first)
        print(f"{cells**2} sites, one run: {seconds:.2f} CPU-s; image per site {away:.4f} from that of one site")


def convergence(study, distances) -> None:
    """Distances of default images from fine ones: 72 points a zone in place of 20, five Gaussians in the pulse."""
    name = study.classes[0]

    def image(method: str, sampling: Sampling | None = None) -> np.ndarray:
        return Simulator(study, method, sampling).signal(name, study.models[name].reference)

    fine = {"gaussian": image("gaussian", Sampling(72)), "montecarlo": image("montecarlo", Sampling(72, components=5))}
    for method, converged_image in fine.items():
        for points in (20, 28, 40):
            print(
                f"{method}, {points} points a zone: {shown(image(method, Sampling(points)), converged_image)}",
                flush=True,
            )
    print("gaussian from montecarlo, both converged: " + shown(*fine.values()), flush=True)
    usual, landing.REACH = landing.REACH, WIDE
    wide = image("gaussian", Sampling(72))
    landing.REACH = usual
    print(f"gaussian, converged, from one with windows of {WIDE:g} sigma: {shown(fine['gaussian'], wide)}")
    print("gaussian, default, from that: " + shown(image("gaussian"), wide), flush=True)
    if distances:
        true = image("montecarlo", Sampling(72, draws=16, smoothing=0.1, corrections=16))
        print("montecarlo, default, from one with draws: " + shown(image("montecarlo"), true))
        print("its pulse alone, converged, from that: " + shown(fine["montecarlo"], true))
        print("gaussian, converged, from that: " + shown(fine["gaussian"], true))


def hundredfold(study) -> None:
    """Distance of default images from those with 100 times the fine points, one run at a time."""
    name = study.classes[0]
    for run in study.runs:
        alone = replace(study, runs=(run,))
        for method, components in (("gaussian", 2), ("montecarlo", 5)):
            default, fine, many = (
                Simulator(alone, method, sampling).signal(name, study.models[name].reference)
                for sampling in (Sampling(), Sampling(72, components=components), Sampling(200, components=components))
            )
            print(
                f"Ei {run.ei:g}, {method}: default {relative(default, many):.4f}, 72 points a zone "
                f"{relative(fine, many):.4f} from 200",
                flush=True,
            )


def on_cuda(study, number: int) -> None:
    """Images per second on a GPU, the way to the processor's memory included."""
    for method in METHODS:
        simulator = Simulator(study, method, device="cuda")
        sets = stable_sets(simulator, number)
        image = simulator.signal(*sets[0])  # the first one compiles
        started = time.perf_counter()
        for name, values in sets:
            simulator.signal(name, values)
        seconds = (time.perf_counter() - started) / number
        away = relative(image, Simulator(study, method).signal(*sets[0]))
        print(
            f"{method} on {torch.cuda.get_device_name()}: {1 / seconds:.1f} images a second, {away:.1e} from the CPU's"
        )


def plot(study, file: str) -> None:
    """Distance from an image with 60 points a zone against points a zone and against the time of an image."""
    import matplotlib.pyplot as plt

    name = study.classes[0]
    reference = study.models[name].reference
    points = (10, 14, 20, 28, 40)
    figure, axes = plt.subplots(1, 2, figsize=(7, 2.8), sharey=True, layout="constrained")
    for method in ("gaussian", "montecarlo"):
        fine = Simulator(study, method, Sampling(60)).signal(name, reference)
        distances, times = [], []
        for number in points:
            simulator = Simulator(study, method, Sampling(number))
            images = []
            times.append(least(lambda s=simulator, i=images: i.append(s.signal(name, reference)), 2))
            distances.append(np.linalg.norm(images[0] - fine) / np.linalg.norm(fine))
            print(f"{method}, {number} points a zone: {distances[-1]:.4f} at {times[-1]:.2f} CPU-s", flush=True)
        axes[0].loglog(points, distances, "o-", label=method)
        axes[1].loglog(times, distances, "o-", label=method)
    axes[0].set(xlabel="points along an axis of the zone", ylabel="relative L2 distance")
    axes[0].set_xticks(points, [str(n) for n in points], minor=False)
    axes[1].set(xlabel="CPU-seconds an image")
    axes[1].set_xticks(seconds := (0.1, 0.2, 0.5, 1, 2, 5), [f"{n:g}" for n in seconds])
    for one in axes:
        one.minorticks_off()
    axes[1].legend(frameon=False)
    figure.savefig(file, dpi=90)


def relative(image: np.ndarray, fine: np.ndarray) -> float:
    """Relative L2 distance."""
    return float(np.linalg.norm(image - fine) / np.linalg.norm(fine))


def shown(image: np.ndarray, fine: np.ndarray) -> str:
    """Relative L2 distance in all, and of each run."""
    square, size = (image - fine) ** 2, fine**2
    each = np.sqrt(square.sum((1, 2, 3)) / size.sum((1, 2, 3)))
    return f"{np.sqrt(square.sum() / size.sum()):.4f}; by Ei " + " ".join(f"{d:.4f}" for d in each)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--stages", action="store_true")
    parser.add_argument("--cost", action="store_true")
    parser.add_argument("--tolerance", type=float)
    parser.add_argument("--converged", action="store_true")
    parser.add_argument("--hundredfold", action="store_true", help="from 100 times the fine points (a quarter hour)")
    parser.add_argument("--draws", action="store_true", help="with --converged: also against draws (minutes)")
    parser.add_argument("--plot", metavar="PNG")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    study = load_study("pcsmo")
    if arguments.plot:
        plot(study, arguments.plot)
        return
    speed(study, arguments)
    if arguments.cost:
        cost_of_sites()
        cost(study)
    if arguments.tolerance:
        for method in ("gaussian", "montecarlo"):
            started = time.process_time()
            simulator, _, distance = converged(study, study.classes[0], method, arguments.tolerance)
            print(
                f"{method}, tolerance {arguments.tolerance:g}: {time.process_time() - started:.1f} CPU-s, "
                f"{simulator.sampling.zone_points} points a zone, last change {distance:.4f}"
            )
    if arguments.converged:
        convergence(study, arguments.draws)
    if arguments.hundredfold:
        hundredfold(study)
    if torch.cuda.is_available():
        on_cuda(study, arguments.sets)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB")


if __name__ == "__main__":
    main()
