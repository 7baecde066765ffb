"""The one training loop."""

import csv
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from ..dataset.noise import Nuisance, degrade
from ..dataset.parts import FOREIGN, Part
from ..machine import keep_memory, multiplies_bfloat16
from .base import Output, SpectrumNetwork
from .duq import gradient_penalty
from .files import halved
from .foreign import make_foreign

SETTLING = 16
"""Batches of training images from which the statistics of batch normalisation are taken."""
LEAST = 1e-6
"""How far from 0 and 1 a score is held in the loss."""
Watch = Callable[[torch.Tensor, torch.Tensor], None]
"""Shown measurements (n, runs, slices, x, y) and their masks."""


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that fixes a training, but for the data.

    The defaults are those of the compact network; :mod:`.kinds` has those of the others.

    Attributes
    ----------
    epochs, patience : int
        At most so many; stop after so many without a better validation loss.
    penalty, penalty_every, penalty_images
        Weight of DUQ's gradient penalty, in which batches it is worked out, and on how many of their images.
    regression : float
        Weight of the parameters' squared error.
    foreign, foreign_weight : float
        Foreign images added to a batch, as a share of it (made on the fly, half of them magnets where there are any),
        and the weight of each in the loss: they are to be learnt from often, and expected seldom.
    misalignment : float
        How much further training images are shifted and turned than those a network is checked and calibrated on: a
        measurement that is off by a pixel more than expected is to keep its scores.
    reduced_precision : bool
        Convolutions in bfloat16 where the machine has instructions for it.
    optimizer : {"adamw", "adam", "sgd"}
    annealed : bool
        Whether the learning rate rises shortly and then falls along a cosine; else it stays.
    clip : float
        Largest norm of a step's gradient.
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
    foreign: float = 0.5
    foreign_weight: float = 0.25
    misalignment: float = 1.6
    seed: int = 0
    reduced_precision: bool = True
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    annealed: bool = True
    clip: float = 1.0


@dataclass(frozen=True)
class Evaluation:
    """How a network does on a part of a training set, and what it said of each image."""

    loss: float
    accuracy: float
    output: Output
    labels: torch.Tensor


def batches(
    network: SpectrumNetwork,
    part: Part,
    size: int,
    coverages: torch.Tensor,
    nuisance: Nuisance,
    generator: torch.Generator,
    shuffle: bool = True,
    foreign: float = 0.0,
    energies: torch.Tensor | None = None,
    watch: Watch | None = None,
    magnets: NDArray | None = None,
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Prepared inputs, labels, scaled parameters and probabilities of the classes, each image degraded afresh.

    Foreign images come last, labelled -1, half of them of ``magnets`` (n, runs, slices, x, y) if there are any, which
    are then also among the spectra that others are mixed with. What is made of a batch before the network prepares it
    is shown to ``watch``.
    """
    order = torch.randperm(len(part.labels), generator=generator) if shuffle else torch.arange(len(part.labels))
    for chosen in order.split(size):
        index = chosen.numpy()
        signal = torch.as_tensor(part.images[index].astype(np.float32))
        labels, parameters = torch.as_tensor(part.labels[index]), torch.as_tensor(part.parameters[index])
        number = round(foreign * len(chosen))
        if number and energies is not None:
            simulated = number // 2 if magnets is not None else 0
            others, strange = signal, signal[:0]
            if magnets is not None and simulated:
                drawn = torch.randint(len(magnets), (simulated,), generator=generator).numpy()
                strange = torch.as_tensor(magnets[drawn].astype(np.float32))
                others = torch.cat([signal, strange])
            made = make_foreign(signal[: number - simulated], others, energies, generator)
            signal = torch.cat([signal, made, strange])
            labels = torch.cat([labels, torch.full((number,), FOREIGN)])
        measured, valid = degrade(signal, coverages, nuisance, generator, part.mirrors)
        if watch is not None:
            watch(measured, valid)
        inputs = network.prepare(measured, valid)
        yield inputs, labels, parameters, _targets(part, index, labels, network.classes)


def _targets(part: Part, index: np.ndarray, labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Probability of each class, (n, classes): the label's alone, equal where models coincide, none if foreign."""
    targets = torch.zeros(len(labels), classes)
    if part.targets is not None:
        targets[: len(index)] = torch.as_tensor(part.targets[index])
    else:
        targets[torch.arange(len(index)), labels[: len(index)]] = 1
    return targets


def losses(
    output: Output,
    labels: torch.Tensor,
    parameters: torch.Tensor,
    targets: torch.Tensor,
    own_logits: bool,
    foreign_weight: float = 1.0,
) -> tuple[torch.Tensor, ...]:
    """Classification loss and the parameters' squared error.

    Classification: binary cross-entropy of the scores and, where a network has a softmax head of its own, the
    cross-entropy of that. A spectrum that several models share should score one for each of them, and has equal
    probabilities. Foreign images (label -1) count in the scores alone, each by ``foreign_weight``: every one of theirs
    should be zero.
    """
    known = labels != FOREIGN
    hot = (targets > 0).to(output.scores.dtype)
    weight = torch.where(known, 1.0, foreign_weight).to(hot)[:, None]
    scores = output.scores.clamp(LEAST, 1 - LEAST)
    log_scores = scores.log() if output.log_scores is None else output.log_scores
    log_rest = (-scores).log1p() if output.log_rest is None else output.log_rest
    loss = -(weight * torch.where(hot > 0, log_scores, log_rest)).mean()
    if own_logits:
        loss = loss + functional.cross_entropy(output.logits[known], targets[known])
    if output.parameters is None:
        return loss, loss.new_zeros(())
    own = output.parameters[known][torch.arange(int(known.sum())), labels[known]]
    return loss, functional.mse_loss(own, parameters[:, : own.shape[1]])


def device_of(network: nn.Module) -> torch.device:
    """Where a network's weights are."""
    return next(network.parameters()).device


def joined(outputs: list[Output]) -> Output:
    """Outputs of several batches as one, on the CPU."""

    def join(parts: list[torch.Tensor | None]) -> torch.Tensor | None:
        return None if parts[0] is None else torch.cat(parts).float().cpu()  # type: ignore[arg-type]

    names = ("features", "scores", "logits", "parameters", "disagreement")
    return Output(**{k: join([getattr(o, k) for o in outputs]) for k in names})  # type: ignore[arg-type]


@torch.no_grad()
def evaluate(
    network: SpectrumNetwork,
    part: Part,
    coverages: torch.Tensor,
    nuisance: Nuisance,
    seed: int,
    watch: Watch | None = None,
) -> Evaluation:
    """Evaluate on a part; the same seed gives the same noise."""
    network.eval()
    generator = torch.Generator().manual_seed(seed)
    outputs, labels = [], []
    for inputs, label, *_ in batches(network, part, 64, coverages, nuisance, generator, False, watch=watch):
        outputs.append(network(inputs.to(device_of(network))))
        labels.append(label)
    output = joined(outputs)
    label = torch.cat(labels)
    loss = functional.cross_entropy(output.logits, label)
    accuracy = (output.scores.argmax(1) == label).float().mean()
    return Evaluation(float(loss), float(accuracy), output, label)


def reduced_precision(config: TrainingConfig, images: torch.Tensor) -> torch.autocast:
    """Where a network runs in bfloat16 on images (n, .., slices, x, y), if its training asks and the processor can.

    Never on two slices: on a processor PyTorch 2.13's gradient of 3D convolutions in bfloat16 is garbage there.
    """
    device = images.device
    reduced = config.reduced_precision and multiplies_bfloat16(device) and images.shape[2] != 2
    return torch.autocast(device.type, torch.bfloat16, enabled=reduced)


@dataclass(frozen=True)
class Step:
    """What a task makes of one batch.

    Attributes
    ----------
    loss : scalar
        To be made smaller.
    shown : float
        What of it the history records.
    learnt : callable
        What is learnt without a gradient once the weights have moved.
    """

    loss: torch.Tensor
    shown: float
    learnt: Callable[[], None] = lambda: None


class Task(Protocol):
    """What a network is trained to do: its batches, what is wrong with its answers, and how it is checked."""

    def stream(self, training: "Training", generator: torch.Generator) -> Iterator[tuple[torch.Tensor, ...]]:
        """One epoch of batches, degraded afresh."""

    def step(self, training: "Training", number: int, batch: tuple[torch.Tensor, ...]) -> Step:
        """The loss on a batch, on the network's device."""

    def check(self, training: "Training") -> dict[str, float]:
        """Figures of merit on the validation part; that called ``loss`` decides when training stops."""


class Classification:
    """The task of telling candidates apart."""

    def stream(self, training: "Training", generator: torch.Generator) -> Iterator[tuple[torch.Tensor, ...]]:
        """Prepared inputs, labels, parameters and probabilities; see :func:`batches`."""
        config = training.config
        return batches(
            training.network,  # type: ignore[arg-type]
            training.train_part,
            config.batch,
            training.coverages,
            replace(training.nuisance, misalignment=config.misalignment * training.nuisance.misalignment),
            generator,
            foreign=config.foreign,
            energies=training.energies,
            magnets=training.magnets,
        )

    def step(self, training: "Training", number: int, batch: tuple[torch.Tensor, ...]) -> Step:
        """Classification, regression and, now and then, the gradient penalty."""
        config, network = training.config, training.network
        assert isinstance(network, SpectrumNetwork)
        inputs, labels, parameters, targets = batch
        with reduced_precision(config, inputs):
            output = network(inputs)
        classification, regression = losses(
            output, labels, parameters, targets, network.own_logits, config.foreign_weight
        )
        loss = classification + config.regression * regression
        if network.penalised and config.penalty > 0 and number % config.penalty_every == 0:
            some = inputs[: config.penalty_images].clone().requires_grad_(True)
            loss = loss + config.penalty * gradient_penalty(some, network(some).scores)
        own = targets.amax(1) == 1  # neither foreign nor shared

        def learnt() -> None:
            network.update(inputs[own], output.features.detach()[own], labels[own])

        return Step(loss, float(classification.detach()), learnt)

    def check(self, training: "Training") -> dict[str, float]:
        """Loss and accuracy."""
        found = evaluate(
            training.network,  # type: ignore[arg-type]
            training.validation,
            training.coverages,
            training.checked_on,
            training.config.seed + 1,
        )
        return {"loss": found.loss, "accuracy": found.accuracy}


class Training:
    """A training that can be stopped and gone on with: everything it needs is in its checkpoint."""

    def __init__(
        self,
        network: nn.Module,
        train: Part,
        validation: Part,
        coverages: torch.Tensor,
        config: TrainingConfig,
        folder: Path,
        nuisance: Nuisance | None = None,
        energies: torch.Tensor | None = None,
        task: Task | None = None,
        magnets: NDArray | None = None,
    ) -> None:
        self.network, self.train_part, self.validation = network, train, validation
        self.coverages, self.config, self.folder = coverages, config, folder
        self.nuisance, self.energies = nuisance or Nuisance(), energies
        self.task: Task = task or Classification()
        self.magnets = magnets
        self.optimizer = _optimizer(network, config)
        self.epoch, self.best, self.waited = 0, math.inf, 0
        self.history: list[dict[str, float]] = []
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def checked_on(self) -> Nuisance:
        """What validation images are put through: what the training images are, with a measurement's noise."""
        return self.nuisance.measured

    @property
    def checkpoint(self) -> Path:
        """Where the state after the last whole epoch is kept."""
        return self.folder / "checkpoint.pt"

    def resume(self) -> bool:
        """Go on from the checkpoint if there is one for the same settings.

        Where the learning rate does not depend on it, another number of epochs makes a training longer or ends it.
        """
        if not self.checkpoint.exists():
            return False
        state = torch.load(self.checkpoint, weights_only=True)
        now = asdict(self.config)
        if not self.config.annealed:
            state["config"]["epochs"] = now["epochs"]
        if state["config"] != now:
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
        """Learning rate: a short rise, then a cosine; or always the same."""
        if not self.config.annealed:
            return self.config.learning_rate
        rise = min(1.0, (progress + 1e-3) / 0.05)
        return self.config.learning_rate * rise * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))

    def _step(self, number: int, batch: tuple[torch.Tensor, ...]) -> float:
        device = device_of(self.network)
        step = self.task.step(self, number, tuple(t.to(device) for t in batch))
        self.optimizer.zero_grad(set_to_none=True)
        step.loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip)
        self.optimizer.step()
        step.learnt()
        return step.shown

    def _settle(self) -> None:
        """Make the running statistics of batch normalisation those of the weights as they are now.

        As they follow the batches they lag behind the weights: a network that tells its training batches apart can sit
        at chance in evaluation mode for a dozen epochs.
        """
        layers = [m for m in self.network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        if not layers or not isinstance(self.network, SpectrumNetwork):
            return
        momenta = [layer.momentum for layer in layers]
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # the plain mean over batches
        generator = torch.Generator().manual_seed(self.config.seed)
        with torch.no_grad():
            for inputs, *_ in islice(self.task.stream(self, generator), SETTLING):
                self.network(inputs.to(device_of(self.network)))
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum

    def run(self, report: Callable[[str], None] = print) -> None:
        """Train to the end; the network then holds the weights of the best validation loss, in half precision."""
        keep_memory()
        config = self.config
        steps = math.ceil(len(self.train_part.labels) / config.batch)
        while self.epoch < config.epochs and self.waited < config.patience:
            started, total = time.monotonic(), 0.0
            generator = torch.Generator().manual_seed(config.seed * 100_003 + self.epoch)
            torch.manual_seed(config.seed * 100_003 + self.epoch)
            self.network.train()
            for number, batch in enumerate(self.task.stream(self, generator)):
                for group in self.optimizer.param_groups:
                    group["lr"] = self._rate((self.epoch + number / steps) / config.epochs)
                total += self._step(number, batch)
            self._settle()
            check = self.task.check(self)
            self.epoch += 1
            better = check["loss"] < self.best
            self.best, self.waited = (check["loss"], 0) if better else (self.best, self.waited + 1)
            row = {
                "epoch": self.epoch,
                "train_loss": total / steps,
                **{f"validation_{name}": value for name, value in check.items()},
                "seconds": time.monotonic() - started,
            }
            self.history.append(row)
            if better:
                torch.save(self.network.state_dict(), self.folder / "best.pt")
            self._save()
            told = ", ".join(f"{name} {value:.3f}" for name, value in check.items())
            report(
                f"epoch {self.epoch} of {config.epochs}: training loss {row['train_loss']:.3f}, validation {told}, "
                f"{row['seconds']:.0f} s{' *' if better else ''}"
            )
        self.network.load_state_dict(torch.load(self.folder / "best.pt", weights_only=True))
        halved(self.network)
        self.network.eval()


def _optimizer(network: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    weights = list(network.parameters())
    if config.optimizer == "sgd":
        return torch.optim.SGD(weights, config.learning_rate, momentum=0.9, weight_decay=config.weight_decay)
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(weights, config.learning_rate, weight_decay=config.weight_decay)
