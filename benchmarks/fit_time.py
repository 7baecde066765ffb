"""What a fit takes, phase by phase: CPU-seconds, wall time and simulations.

usage: python benchmarks/fit_time.py IMAGE STUDY MODEL [--samples N] [--halves] [--workers N] [--no-posterior]

As `magnoscope fit IMAGE --model MODEL` does it, with what it reports on its way as the ends of phases: reading and
preparing, the search with coarse simulations, the way to its end with errors of the instrument, its last steps with
default simulations, weighted draws and fits to halves of the data. What two idle cores would take is estimated as the
CPU-seconds that were spent on one thread, and half of those on several; a machine under load shows longer walls.
"""

import argparse
import resource
import time
from pathlib import Path

from magnoscope.cli.estimate import FitOptions, fits_of
from magnoscope.estimate.crew import Crew
from magnoscope.io.images import read_spectrum
from magnoscope.studies import load_study


class Clock:
    """CPU-seconds and wall time between marks, and CPU-seconds that were spent side by side."""

    def __init__(self) -> None:
        self.rows: list[tuple[float, ...]] = []
        self.shared, self.last = 0.0, (time.process_time(), time.monotonic(), 0.0)

    def mark(self, name: str) -> None:
        """What has passed since the last mark was this."""
        now = time.process_time(), time.monotonic(), self.shared
        self.rows.append(tuple(b - a for a, b in zip(self.last, now, strict=True)))
        self.last = now
        cpu, wall, shared = self.rows[-1]
        print(f"{cpu:7.1f} CPU-seconds ({shared:6.1f} side by side) {wall:7.1f} s  {name}", flush=True)

    def watch(self) -> None:
        """Count what crews do."""
        plain = Crew.map

        def watched(crew: Crew, function, items):
            began = time.process_time()
            try:
                return plain(crew, function, items)
            finally:
                self.shared += time.process_time() - began if crew.pool else 0.0

        Crew.map = watched  # type: ignore[method-assign]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("image", type=Path)
    parser.add_argument("study")
    parser.add_argument("model")
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--halves", action="store_true")
    parser.add_argument("--no-posterior", action="store_true")
    arguments = parser.parse_args()
    study = load_study(arguments.study)
    spectrum, clock = read_spectrum(arguments.image, study), Clock()
    clock.watch()
    options = FitOptions(
        samples=arguments.samples, halves=arguments.halves, workers=arguments.workers,
        no_posterior=arguments.no_posterior,
    )  # fmt: skip
    (found,) = fits_of(spectrum, [arguments.model], options, clock.mark)
    clock.mark("the rest")
    cpu, wall, shared = (sum(column) for column in zip(*clock.rows, strict=True))
    print(
        f"{cpu:.0f} CPU-seconds, {shared:.0f} of them side by side, {found.simulations} simulations, {wall:.0f} s with "
        f"{arguments.workers} workers; two idle cores: about {cpu - shared / 2:.0f} s, most memory "
        f" {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB"
    )
    worth = 0 if found.sample is None else found.sample.effective
    print(f"log-likelihood {found.total:.1f}, draws worth {worth:.0f} of {arguments.samples}")
    for e in found.estimates:
        print(
            f"  {e.name:>8}: {e.value:.4f} +- {e.error:.4f}, 90 % "
            f"within {e.interval_90[0]:.3f} .. {e.interval_90[1]:.3f}"
        )
    print("  " + ", ".join(f"{e.name}{'' if e.ei is None else f' {e.ei:g}'} {e.size:.2f}" for e in found.instrument))


if __name__ == "__main__":
    main()
