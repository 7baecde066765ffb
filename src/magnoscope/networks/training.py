"""The one training loop."""

import csv
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from ..dataset.noise import MEASUREMENT_LIKE, Nuisance, degrade, prepare
from ..dataset.store import Part
from ..machine import keep_memory
from .compact import CompactNetwork, Output
from .duq import gradient_penalty
from .foreign import make_foreign

FOREIGN = -1
"""The label of an image that belongs to no class."""


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that fixes a training, but for the data.

    Attributes
    ----------
    epochs, patience : int
        At most so many; stop after so many without a better validation loss.
    penalty, penalty_every, penalty_images
        Weight of DUQ's gradient penalty, in which batches it is worked out, and on how many of their images.
    regression : float
        Weight of the parameters' squared error.
    foreign : float
        Foreign images added to a batch, as a share of it.
    reduced_precision : bool
        Convolutions in bfloat16.
    """

    epochs: int = 60
    patience: int = 20
    batch: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    penalty: float = 0.05
    penalty_every: int = 4
    penalty_images: int = 8
    regression: float = 1.0
    foreign: float = 0.25
    seed: int = 0
    reduced_precision: bool = True


@dataclass(frozen=True)
class Evaluation:
    """How a network does on a part of a training set, and what it said of each image."""

    loss: float
    accuracy: float
    output: Output
    labels: torch.Tensor


def batches(
    part: Part,
    size: int,
    coverages: torch.Tensor,
    nuisance: Nuisance,
    generator: torch.Generator,
    shuffle: bool = True,
    foreign: float = 0.0,
    energies: torch.Tensor | None = None,
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Prepared inputs, labels and scaled parameters, each image degraded afresh; foreign images last, labelled -1."""
    order = torch.randperm(len(part.labels), generator=generator) if shuffle else torch.arange(len(part.labels))
    for chosen in order.split(size):
        index = chosen.numpy()
        signal = torch.as_tensor(part.images[index].astype(np.float32))
        labels, parameters = torch.as_tensor(part.labels[index]), torch.as_tensor(part.parameters[index])
        number = round(foreign * len(chosen))
        if number and energies is not None:
            strange = make_foreign(signal[:number], signal.flip(0)[:number], energies, generator)
            signal = torch.cat([signal, strange])
            labels = torch.cat([labels, torch.full((number,), FOREIGN)])
        yield prepare(*degrade(signal, coverages, nuisance, generator)), labels, parameters


def losses(output: Output, labels: torch.Tensor, parameters: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Classification loss (binary cross-entropy of K, cross-entropy of the softmax head) and parameters' error.

    Foreign images count in the first alone: every K of theirs should be zero.
    """
    known = labels != FOREIGN
    hot = functional.one_hot(labels.clamp_min(0), output.scores.shape[1]).to(output.scores.dtype) * known[:, None]
    scores = output.scores.clamp(1e-6, 1 - 1e-6)
    duq = functional.binary_cross_entropy(scores, hot)
    softmax = functional.cross_entropy(output.logits[known], labels[known])
    own = output.parameters[known][torch.arange(int(known.sum())), labels[known]]
    return duq + softmax, functional.mse_loss(own, parameters[:, : own.shape[1]])


@torch.no_grad()
def evaluate(network: CompactNetwork, part: Part, coverages: torch.Tensor, nuisance: Nuisance, seed: int) -> Evaluation:
    """Evaluate on a part; the same seed gives the same noise."""
    network.eval()
    generator = torch.Generator().manual_seed(seed)
    outputs, labels = [], []
    for inputs, label, _ in batches(part, 64, coverages, nuisance, generator, shuffle=False):
        outputs.append(network(inputs))
        labels.append(label)
    output = Output(
        *(torch.cat([getattr(o, k) for o in outputs]) for k in ("features", "scores", "logits", "parameters"))
    )
    label = torch.cat(labels)
    loss = functional.cross_entropy(output.logits, label)
    accuracy = (output.scores.argmax(1) == label).float().mean()
    return Evaluation(float(loss), float(accuracy), output, label)


class Training:
    """A training that can be stopped and gone on with: everything it needs is in its checkpoint."""

    def __init__(
        self,
        network: CompactNetwork,
        train: Part,
        validation: Part,
        coverages: torch.Tensor,
        config: TrainingConfig,
        folder: Path,
        nuisance: Nuisance | None = None,
        energies: torch.Tensor | None = None,
    ) -> None:
        self.network, self.train_part, self.validation = network, train, validation
        self.coverages, self.config, self.folder = coverages, config, folder
        self.nuisance, self.energies = nuisance or Nuisance(), energies
        self.optimizer = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
        self.epoch, self.best, self.waited = 0, math.inf, 0
        self.history: list[dict[str, float]] = []
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def checkpoint(self) -> Path:
        """Where the state after the last whole epoch is kept."""
        return self.folder / "checkpoint.pt"

    def resume(self) -> bool:
        """Go on from the checkpoint if there is one for the same settings."""
        if not self.checkpoint.exists():
            return False
        state = torch.load(self.checkpoint, weights_only=True)
        if state["config"] != asdict(self.config):
            return False
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.best, self.waited = state["epoch"], state["best"], state["waited"]
        self.history = state["history"]
        return True

    def _save(self) -> None:
        state = {
            "config": asdict(self.config),
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "best": self.best,
            "waited": self.waited,
            "history": self.history,
        }
        partial = self.checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, self.checkpoint)
        with open(self.folder / "history.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, list(self.history[0]))
            writer.writeheader()
            writer.writerows(self.history)

    def _rate(self, progress: float) -> float:
        """Learning rate: a short rise, then a cosine."""
        rise = min(1.0, (progress + 1e-3) / 0.05)
        return self.config.learning_rate * rise * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))

    def _step(self, number: int, inputs: torch.Tensor, labels: torch.Tensor, parameters: torch.Tensor) -> float:
        config, network = self.config, self.network
        with torch.autocast("cpu", torch.bfloat16, enabled=config.reduced_precision):
            output = network(inputs)
        classification, regression = losses(output, labels, parameters)
        loss = classification + config.regression * regression
        if config.penalty > 0 and number % config.penalty_every == 0:
            some = inputs[: config.penalty_images].clone().requires_grad_(True)
            loss = loss + config.penalty * gradient_penalty(some, network(some).scores)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        self.optimizer.step()
        # nothing in the network depends on training or evaluation mode, so these features serve the centroids too
        known = labels != FOREIGN
        network.duq.update(output.features.detach()[known], labels[known])
        return float(classification.detach())

    def run(self, report: Callable[[str], None] = print) -> None:
        """Train to the end; the network then holds the weights of the best validation loss."""
        keep_memory()
        config = self.config
        steps = math.ceil(len(self.train_part.labels) / config.batch)
        while self.epoch < config.epochs and self.waited < config.patience:
            started, total = time.monotonic(), 0.0
            generator = torch.Generator().manual_seed(config.seed * 100_003 + self.epoch)
            torch.manual_seed(config.seed * 100_003 + self.epoch)
            self.network.train()
            stream = batches(
                self.train_part,
                config.batch,
                self.coverages,
                self.nuisance,
                generator,
                foreign=config.foreign,
                energies=self.energies,
            )
            for number, batch in enumerate(stream):
                for group in self.optimizer.param_groups:
                    group["lr"] = self._rate((self.epoch + number / steps) / config.epochs)
                total += self._step(number, *batch)
            check = evaluate(self.network, self.validation, self.coverages, MEASUREMENT_LIKE, config.seed + 1)
            self.epoch += 1
            better = check.loss < self.best
            self.best, self.waited = (check.loss, 0) if better else (self.best, self.waited + 1)
            row = {
                "epoch": self.epoch,
                "train_loss": total / steps,
                "validation_loss": check.loss,
                "validation_accuracy": check.accuracy,
                "seconds": time.monotonic() - started,
            }
            self.history.append(row)
            if better:
                torch.save(self.network.state_dict(), self.folder / "best.pt")
            self._save()
            report(
                f"epoch {self.epoch} of {config.epochs}: training loss {row['train_loss']:.3f}, validation loss "
                f"{check.loss:.3f}, accuracy {check.accuracy:.3f}, {row['seconds']:.0f} s{' *' if better else ''}"
            )
        self.network.load_state_dict(torch.load(self.folder / "best.pt", weights_only=True))
        self.network.eval()
