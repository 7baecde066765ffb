"""The autoencoder of the published study: K. T. Butler et al., J. Phys.: Condens. Matter 33, 194006 (2021), figure 3c.

Two strided convolutions, 20 latent Gaussians, and back; trained to give back its own input, by the evidence lower bound
(D. P. Kingma and M. Welling, arXiv:1312.6114). It sees clean simulations alone, so that nothing tells it what noise is.
The text prints neither filters nor the law of the pixels: 32 and 64 filters and Bernoulli pixels, as is usual for
images in 0..1, are our choice.
"""

import torch
from torch import nn
from torch.nn import functional

from .base import Sizes
from .cleaner import CleaningNetwork
from .published import BRIGHTEST, flat_image

LATENT = 20
FILTERS = (32, 64)
DECODINGS = 16
"""Draws of the latent layer whose decodings make a cleaned spectrum and its spread."""


class PublishedAutoencoder(CleaningNetwork):
    """A variational autoencoder on the flat image."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.shape = sizes.shape
        runs, slices, nx, ny = sizes.shape
        self.rows, self.columns = runs * nx, slices * ny
        self.small = (-(-self.rows // 4), -(-self.columns // 4))
        first, second = FILTERS
        self.encode = nn.Sequential(
            nn.Conv2d(1, first, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(first, second, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(second * self.small[0] * self.small[1], 2 * LATENT),
        )
        self.widen = nn.Linear(LATENT, first * self.small[0] * self.small[1])
        self.decode = nn.Sequential(
            nn.ConvTranspose2d(first, second, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(second, first, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(first, 1, 3, padding=1),
        )

    def _image(self, measured: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        image = flat_image(measured, valid)
        whole = (0, 4 * self.small[1] - self.columns, 0, 4 * self.small[0] - self.rows)
        return functional.pad(image, whole)

    def decoded(self, latent: torch.Tensor) -> torch.Tensor:
        """Logits of pixels in 0..1, (n, 1, rows, columns) with padding, of latent points (n, 20)."""
        small = functional.relu(self.widen(latent)).reshape(len(latent), FILTERS[0], *self.small)
        return self.decode(small)

    def loss(self, measured: torch.Tensor, valid: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
        """Evidence lower bound, negative, per image: of the input, not of the clean spectrum."""
        image = self._image(measured, valid)
        mean, log_variance = self.encode(image).float().chunk(2, 1)
        latent = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        logits = self.decoded(latent).float()
        pixels = functional.binary_cross_entropy_with_logits(logits, image, reduction="none").sum((1, 2, 3))
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1)
        return (pixels + divergence).mean()

    def restore(self, measured: torch.Tensor, valid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and spread of decodings of draws of the latent layer, scaled back as the image was."""
        image = self._image(measured, valid)
        mean, log_variance = self.encode(image).float().chunk(2, 1)
        n, runs, slices, nx, ny = measured.shape
        generator = torch.Generator().manual_seed(0)
        total, square = torch.zeros_like(measured), torch.zeros_like(measured)
        seen = measured.clamp(0, BRIGHTEST)
        low = torch.where(valid, seen, torch.inf).amin((1, 2, 3, 4), keepdim=True).nan_to_num(posinf=0.0)
        top = ((seen - low) * valid).amax((1, 2, 3, 4), keepdim=True)
        for _ in range(DECODINGS):
            draw = torch.randn(mean.shape, generator=generator).to(mean.device)
            flat = self.decoded(mean + draw * (log_variance / 2).exp()).float().sigmoid()
            flat = flat[:, 0, : self.rows, : self.columns].reshape(n, runs, nx, slices, ny)
            one = low + top * flat.permute(0, 1, 3, 2, 4)
            total, square = total + one, square + one**2
        centre = total / DECODINGS
        return centre, (square / DECODINGS - centre**2).clamp_min(0).sqrt()
