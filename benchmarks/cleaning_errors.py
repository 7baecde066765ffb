"""What the error of a cleaned spectrum is made of, and what could be reached.

usage: python benchmarks/cleaning_errors.py SET [--weights CLEANER] [--images 64] [--foreign SET] [--match WEIGHTS]
       [--study pcsmo]

On images of the validation part with a measurement's noise: the test part is for the report alone. Errors are root mean
squares over valid pixels in units of the run's mean, over the raw one, as `error_left` is; shares are of mean squares.
Printed:

- the raw mean square of noise, background and hot pixels alone;
- the cleaned error with hot pixels and without; what is left of it if each tile's constant, or scale, were known, or a
  better gain taken; its shares by spatial frequency and by brightness of the clean pixel, with the bias there and the
  spread that is stated;
- with --foreign what is left of the error of magnets that are no candidate (`dataset build --draws foreign`): a cleaner
  that paints candidates onto whatever it is given does worse there than raw spectra;
- references, all of which know more than a cleaner: each tile by the best linear estimate from its own pixels, with the
  principal components of the training spectra as a prior and the noise known; with --match the right candidate at the
  best parameters of the emulator in those weights, scale and background of each tile fitted.
"""

import argparse
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from magnoscope.cleaning import load_cleaner, shipped_cleaner
from magnoscope.dataset.coverage import random_coverage
from magnoscope.dataset.noise import MEASUREMENT_LIKE, Nuisance
from magnoscope.dataset.parts import Part, load_part, open_set
from magnoscope.machine import keep_memory
from magnoscope.networks.cleaner import CleaningNetwork
from magnoscope.networks.cleaning import BATCH, pairs
from magnoscope.studies import load_study
from magnoscope.trust.emulator import Emulator
from magnoscope.trust.held_back import chosen
from magnoscope.trust.reconstruction import binned_spectra
from magnoscope.trust.weights import load_weights

SEED = 71
BANDS = (0.0, 0.03, 0.08, 0.16, 0.8)
"""Edges in cycles a pixel."""
BRIGHT = (0.0, 0.3, 1.0, 2.0, 4.0, np.inf)
"""Edges in units of the run's mean."""
COMPONENTS = 40
LEARNT_FROM = 1200
UNTURNED = replace(MEASUREMENT_LIKE, mirrors=False)
HOT = 4.0
"""Pixels so many deviations above are left out of a linear estimate."""


@dataclass(frozen=True)
class Seen:
    """Measurements of a part in units of each run's mean, (n, runs, slices, x, y) all but the last."""

    raw: torch.Tensor
    valid: torch.Tensor
    clean: torch.Tensor
    mean: torch.Tensor

    def power(self, off: torch.Tensor) -> float:
        """Mean over images of the mean square over valid pixels."""
        seen = self.valid.sum((1, 2, 3, 4)).clamp_min(1)
        return float(((off**2 * self.valid).sum((1, 2, 3, 4)) / seen).mean())

    def left(self, estimate: torch.Tensor) -> float:
        """Error of an estimate over the raw one."""
        return (self.power(estimate - self.clean) / self.power(self.raw - self.clean)) ** 0.5


def measured(part: Part, coverages: torch.Tensor, nuisance: Nuisance) -> Seen:
    """Measurements with the same seed."""
    generator = torch.Generator().manual_seed(SEED)
    found = [batch[:3] for batch in pairs(part, BATCH, coverages, nuisance, generator, False)]
    raw, valid, clean = (torch.cat(a) for a in zip(*found, strict=True))
    mean = clean.mean((2, 3, 4), keepdim=True).clamp_min(1e-12)
    return Seen(raw / mean, valid, clean / mean, mean)


def show(title: str, values: dict[str, float]) -> None:
    """One line."""
    print(f"{title}: " + ", ".join(f"{name} {value:.3f}" for name, value in values.items()), flush=True)


def of_raw(part: Part, coverages: torch.Tensor) -> None:
    """The raw error and its causes."""
    causes = {"all": (), "noise": ("background", "hot"), "background": ("noise", "hot"), "hot": ("noise", "background")}
    found = {}
    for name, without in causes.items():
        seen = measured(part, coverages, MEASUREMENT_LIKE.without(*without))
        found[name] = seen.power(seen.raw - seen.clean)
    show("raw mean square", found)


def restored(network: CleaningNetwork, seen: Seen) -> tuple[torch.Tensor, ...]:
    """Cleaned spectra and their spread in units of each run's mean."""
    batches = zip((seen.raw * seen.mean).split(BATCH), seen.valid.split(BATCH), strict=True)
    with torch.no_grad():
        found = [network.restore(m, v) for m, v in batches]
    return tuple(torch.cat(a) / seen.mean for a in zip(*found, strict=True))


def of_cleaned(network: CleaningNetwork, seen: Seen) -> None:
    """The cleaned error in parts."""
    cleaned, spread = restored(network, seen)
    off = cleaned - seen.clean
    constant, scale = _constant_and_scale(off, seen)
    whole = cleaned[seen.valid], seen.clean[seen.valid]
    gain = float((whole[0] * whole[1]).sum() / (whole[0] ** 2).sum())
    rows = {"": cleaned, "constants known": cleaned - constant, "scales known": cleaned - scale}
    rows |= {"both known": cleaned - constant - scale, f"times {gain:.3f}": gain * cleaned}
    show("error left", {name: seen.left(estimate) for name, estimate in rows.items()})
    for name, image in (("clean", seen.clean), ("raw error", seen.raw - seen.clean), ("cleaned error", off)):
        show(f"by frequency, up to {BANDS[1:]}, {name}", dict(enumerate(_bands(image, seen.valid))))  # type: ignore[arg-type]
    for low, high in pairwise(BRIGHT):
        here = (seen.clean >= low) & (seen.clean < high)
        inside = here & seen.valid
        rms = {"true": off[inside], "stated": spread[inside]}
        shares = {
            f"of {name}": seen.power(torch.where(here, image, 0.0)) / seen.power(image)
            for name, image in (("raw", seen.raw - seen.clean), ("cleaned", off))
        }
        pixels = {"pixels": float(inside.sum() / seen.valid.sum()), "bias": float(off[inside].mean())}
        show(f"brightness {low} to {high}", pixels | shares | {k: float((v**2).mean()) ** 0.5 for k, v in rms.items()})


def _constant_and_scale(off: torch.Tensor, seen: Seen) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each tile of an error: its mean, and what is along the clean spectrum's structure."""
    number = seen.valid.sum((3, 4), keepdim=True).clamp_min(1)
    mean = (off * seen.valid).sum((3, 4), keepdim=True) / number
    shape = (seen.clean - (seen.clean * seen.valid).sum((3, 4), keepdim=True) / number) * seen.valid
    along = (off * shape).sum((3, 4), keepdim=True) / (shape**2).sum((3, 4), keepdim=True).clamp_min(1e-12)
    return mean.expand(off.shape), along * shape


def _bands(image: torch.Tensor, valid: torch.Tensor) -> list[float]:
    """Share of the power of tiles without their mean, by spatial frequency."""
    number = valid.sum((3, 4), keepdim=True).clamp_min(1)
    flat = (image - (image * valid).sum((3, 4), keepdim=True) / number) * valid
    spectrum = (torch.fft.fft2(flat).abs() ** 2).sum((0, 1, 2))
    x, y = (torch.fft.fftfreq(n) for n in image.shape[3:])
    radius = torch.hypot(x[:, None], y[None])
    return [float(spectrum[(radius >= a) & (radius < b)].sum() / spectrum.sum()) for a, b in pairwise(BANDS)]


def linear(seen: Seen, train: Part) -> torch.Tensor:
    """The best linear estimate of each tile from its own pixels, by components of distorted training spectra."""
    generator = torch.Generator().manual_seed(SEED + 1)
    silent = MEASUREMENT_LIKE.without("noise", "background", "hot", "masks")
    known = [c / c.mean((2, 3, 4), keepdim=True) for _, _, c, _ in pairs(train, 100, None, silent, generator, False)]
    out = torch.zeros_like(seen.raw)
    for r, s in np.ndindex(*seen.raw.shape[1:3]):
        x = torch.cat([c[:, r, s].flatten(1) for c in known])
        centre = x.mean(0)
        _, size, vectors = torch.svd_lowrank(x - centre, q=COMPONENTS, niter=2)
        # background: a constant with the spread of the nuisances
        basis = torch.cat([vectors.T, torch.ones(1, x.shape[1])])
        prior = torch.diag(1 / torch.cat([size**2 / len(x), torch.tensor([0.15**2])]))
        for i in range(len(out)):
            y, truth = seen.raw[i, r, s].flatten(), seen.clean[i, r, s].flatten()
            noise = (y - truth)[seen.valid[i, r, s].flatten()]
            if not len(noise):
                continue
            level = float(torch.quantile(noise.abs(), 0.68)) ** 2 + 1e-6
            used = seen.valid[i, r, s].flatten() & ((y - truth).abs() < HOT * (level * (1 + truth)) ** 0.5)
            b = basis[:, used]
            amounts = torch.linalg.solve(b @ b.T / level + prior, b @ (y - centre)[used] / level)
            out[i, r, s] = (centre + amounts[:-1] @ basis[:-1]).reshape(out.shape[3:])
    return out


def matched(seen: Seen, part: Part, train: Part, emulator: Emulator) -> torch.Tensor:
    """The right candidate at the parameters that the emulator finds, laid onto each tile by scale and background.

    Full resolution comes from training spectra, by regression on the components of the emulator.
    """
    index = np.arange(len(train.labels))
    binned = torch.as_tensor(binned_spectra(emulator.view, train.images, index)).flatten(3)
    amounts = torch.einsum("nrtb,rtkb->rtnk", binned, emulator.components)
    whole = torch.as_tensor(np.asarray(train.images[index]).astype(np.float32))
    size = (whole - whole.mean((3, 4), keepdim=True)).square().sum((2, 3, 4), keepdim=True).sqrt()
    whole = (whole / size.clamp_min(1e-12)).flatten(3).permute(1, 2, 0, 3)
    maps = torch.linalg.lstsq(amounts, whole).solution
    out = torch.zeros_like(seen.raw).flatten(3)
    for i, label in enumerate(part.labels):
        found = emulator.compare(seen.raw[i].double().numpy(), seen.valid[i].numpy()).scaled[label]
        candidate = emulator.candidates[label]
        scaled = torch.as_tensor(found, dtype=torch.float32)[None, candidate.free]
        with torch.no_grad():
            shape = torch.einsum("rtk,rtkb->rtb", candidate(scaled)[:, 0], maps)
        for r, s in np.ndindex(*seen.raw.shape[1:3]):
            v = seen.valid[i, r, s].flatten()
            y, x = seen.raw[i, r, s].flatten()[v], shape[r, s][v]
            if not len(y):
                continue
            y = y.clamp_max(x.max() + 4 * y.std())  # hot pixels
            along, power = ((x - x.mean()) * (y - y.mean())).sum(), ((x - x.mean()) ** 2).sum().clamp_min(1e-6)
            out[i, r, s] = shape[r, s] * (along / power).clamp_min(0)
    return out.reshape(seen.raw.shape)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--foreign", type=Path)
    parser.add_argument("--match", type=Path)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--study", default="pcsmo")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    study = load_study(arguments.study)
    cleaner, _ = load_cleaner(arguments.weights or shipped_cleaner(study), study)
    source = open_set(arguments.dataset)
    part = chosen(load_part(source, study, "validation"), arguments.images)
    coverages = random_coverage(study, 64, SEED)
    of_raw(part, coverages)
    of_cleaned(cleaner.network, measured(part, coverages, MEASUREMENT_LIKE))
    print("without hot pixels:")
    cold = measured(part, coverages, UNTURNED.without("hot"))
    of_cleaned(cleaner.network, cold)
    if arguments.foreign is not None:
        magnets = load_part(open_set(arguments.foreign), study, "train", foreign=True)
        strange = measured(chosen(magnets, arguments.images), coverages, UNTURNED.without("hot"))
        show(
            "magnets that are no candidate, without hot pixels",
            {"left": strange.left(restored(cleaner.network, strange)[0])},
        )
    train = chosen(load_part(source, study, "train"), LEARNT_FROM)
    show(
        "each tile by the best linear estimate, noise known, without hot pixels",
        {"left": cold.left(linear(cold, train))},
    )
    if arguments.match is not None:
        emulator = load_weights(arguments.match, study)[0].calibration.emulator
        if emulator is None:
            raise SystemExit(f"{arguments.match} has no emulator")
        still = measured(part, coverages, UNTURNED.without("hot", "misalignment", "energy", "moderator"))
        left = {"left": still.left(matched(still, part, train, emulator))}
        show("the right candidate at the emulator's best parameters, nothing hot, misaligned or shifted", left)


if __name__ == "__main__":
    main()
