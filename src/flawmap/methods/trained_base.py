"""What methods that are trained share.

The loop over good images, what it leaves on disk, and how it is gone on with.

Everything random in an epoch follows from seed and epoch alone, so a training that was stopped goes
on to the same result bit for bit, on one kind of machine. The budget is fixed and the last epoch
counts: no test image is looked at.
"""

from __future__ import annotations

import hashlib
import time
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import length_hint
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar, final

import torch
from numpy.random import default_rng
from torch import Tensor, nn
from torch.optim import Optimizer

from flawmap.engine.batches import Batch
from flawmap.engine.run import best_device
from flawmap.errors import DatasetError, OptionError
from flawmap.memory.concat import concat_batches
from flawmap.methods.base import Method, State, not_fitted
from flawmap.render.curves import plot_losses
from flawmap.support.progress import emit
from flawmap.support.system import available_memory
from flawmap.support.tensors import Images
from flawmap.training.loop import TrainingRun
from flawmap.training.metrics import TrainingEpoch
from flawmap.training.monitor import TrainingMonitor

MIN_TRAINING_IMAGES = 2
"""Images to train with; networks that normalise over images need as many."""

Shapes = Sequence[tuple[int, ...]]
"""Of what is held of an image, without the axis that counts images."""

Losses = dict[str, Tensor]
"""Parts of the loss by name, a number each."""

N = TypeVar("N", bound=nn.Module)


@dataclass(frozen=True)
class Preset:
    """Settings that belong together, under a name.

    Args:
        takes: what they are for and how long that takes, in a few words.
        size: of the network's input, in pixels a side.
        options: of the method.
    """

    summary: str
    size: int = 224
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class TrainedMethod(Method, Generic[N]):
    """A method that is trained on good images.

    Its networks see what the frozen encoder makes of them.

    What is learned from is held in memory: `take` says what that is of an image.

    Args:
        epochs: rounds over the images.
        batch: images a step.
        most: images of an epoch, drawn anew for each; None for all.
    """

    holdout_fraction: ClassVar[float] = 0.2
    """Leaving images out afterwards would take a training for each."""

    max_grad_norm: ClassVar[float | None] = None
    """Longest gradient over all networks; None for any."""

    resume_keys: ClassVar[tuple[str, ...]] = ()
    """Options of which a longer training may not have other values.

    `epochs` where a phase follows another.
    """

    drop_last: ClassVar[bool] = False
    """Whether to drop an incomplete last batch, for networks that normalise over images."""

    epochs: int = 20
    batch_size: int = 8
    max_images_per_epoch: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (
            min(
                self.epochs,
                self.batch_size,
                1 if self.max_images_per_epoch is None else self.max_images_per_epoch,
            )
            < 1
        ):
            drawn = "all" if self.max_images_per_epoch is None else self.max_images_per_epoch
            raise OptionError(
                f"{self.epochs} epochs of {drawn} images, {self.batch_size} a step; use 1 or "
                f"more of each"
            )
        self.networks_: N | None = None
        self.shapes_: Shapes = []
        self.history_: list[TrainingEpoch] = []

    @abstractmethod
    def networks(self, shapes: Shapes) -> N:
        """Make the networks, untrained; what is random comes from torch's own generator."""

    @abstractmethod
    def optimizers(self, networks: N) -> list[Optimizer]:
        """Make what moves the networks' weights, at the rates of the first epoch."""

    @abstractmethod
    def loss(self, networks: N, batch: list[Tensor]) -> Losses:
        """Give the parts whose sum a step makes smaller.

        What is random comes from torch's own generator.
        """

    def lr_factor(self, epoch: int) -> float:
        """Say what the rates are multiplied by in an epoch, counted from 1."""
        del epoch
        return 1.0

    @property
    def phase_ends(self) -> tuple[int, ...]:
        """The last epoch of each phase of the training; epochs of one phase take equally long."""
        return (self.epochs,)

    def training_inputs(self, images: Images) -> list[Tensor]:
        """Say what is held of images: what the encoder gives, unless a method needs more."""
        return self.encoder_runner.encode(images).flatten()

    def on_train_start(self, held: list[Tensor]) -> None:
        """Look at all images once before the training begins; most methods need not."""

    def on_train_end(self, networks: N, held: list[Tensor]) -> None:
        """Measure what judging needs to know of the trained networks; for most methods nothing."""

    def training_batches(
        self, held: list[Tensor], order: Sequence[int], epoch: int
    ) -> Iterator[list[Tensor]]:
        """Give what the steps of an epoch learn from.

        What is held of the images numbered in `order`.
        """
        del epoch
        for places in self._chunks(order):
            yield [one[places] for one in held]

    @final
    def fit(self, batches: Iterable[Batch], folder: Path | None = None) -> TrainedMethod[N]:
        """Train to the last epoch.

        Raises:
            DatasetError: fewer than two images could be used.
            OptionError: this machine has not the memory.
            TrainingError: the loss became infinite or no number.
            WriteError: the folder cannot be written.
        """
        held, digest = self._hold(batches)
        self.on_train_start(held)
        self.shapes_ = [tuple(one.shape[1:]) for one in held]
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            networks = self.networks(self.shapes_)
        course = _Training(self, networks.to(best_device()), held, digest)
        course.run(folder)
        self.on_train_end(networks.eval(), held)
        self.networks_, self.history_ = networks.eval().requires_grad_(False), course.history
        return self

    @final
    def fitted_state(self) -> State:
        """Give the networks' weights, and the shapes that they were made for."""
        shapes = {f"shape.{place}": torch.tensor(shape) for place, shape in enumerate(self.shapes_)}
        return shapes | {
            f"networks.{name}": tensor.cpu()
            for name, tensor in self.trained_networks().state_dict().items()
        }

    @final
    def load_fitted_state(self, learned: State) -> None:
        """Take the networks back."""
        count = sum(name.startswith("shape.") for name in learned)
        self.shapes_ = [tuple(learned[f"shape.{place}"].tolist()) for place in range(count)]
        # Without memory, so without drawing random numbers, until the tensors come.
        with torch.device("meta"):
            networks = self.networks(self.shapes_)
        networks.load_state_dict(_with_prefix("networks.", learned), assign=True)
        self.networks_ = networks.eval().requires_grad_(False).to(best_device())

    @final
    def trained_networks(self) -> N:
        """Give the networks as they came out of the training.

        Raises:
            NotFitted: there was none yet.
        """
        if self.networks_ is None:
            raise not_fitted(self)
        return self.networks_

    def _hold(self, batches: Iterable[Batch]) -> tuple[list[Tensor], str]:
        """Take what is needed of all images; also says in a hash which images these are."""
        digest, expected = hashlib.sha256(), max(1, length_hint(batches))
        seen: list[int] = []

        def take(batch: Batch) -> list[Tensor]:
            digest.update(f"{batch.images.shape[1:]}\n".encode())
            digest.update(batch.images.contiguous().numpy().tobytes())
            taken = self.training_inputs(batch.images)
            if not seen:
                _check_memory(taken, expected)
            seen.append(len(taken[0]))
            return taken

        self.encoder_runner.warm_up(batches, self.phase_ends[-1])
        held = concat_batches(map(take, batches), expected)
        if (count := sum(seen)) < MIN_TRAINING_IMAGES:
            raise DatasetError(
                f"{count or 'no'} image could be used, and {MIN_TRAINING_IMAGES} are the fewest "
                f"to train with; give 100 or more"
            )
        return held, digest.hexdigest()

    def _chunks(self, order: Sequence[int]) -> list[list[int]]:
        chunks = [
            list(order[start : start + self.batch_size])
            for start in range(0, len(order), self.batch_size)
        ]
        return (
            chunks[:-1]
            if self.drop_last and len(chunks) > 1 and len(chunks[-1]) < self.batch_size
            else chunks
        )


class _Training(TrainingRun[TrainingEpoch], Generic[N]):
    """The training of a method, as a folder keeps it."""

    def __init__(
        self, method: TrainedMethod[N], networks: N, held: list[Tensor], digest: str
    ) -> None:
        self.method, self.networks, self.cached, self.digest = method, networks, held, digest
        self.epochs, self.history = method.phase_ends[-1], []
        self.optimizers = method.optimizers(networks)
        self.rates = [
            [group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers
        ]

    def run_epochs(self) -> Iterator[TrainingEpoch]:
        count = len(self.cached[0])
        drawn, name = (
            min(count, self.method.max_images_per_epoch or count),
            type(self.method).__name__,
        )
        steps = len(self.method._chunks(range(drawn)))
        watch = TrainingMonitor(
            "Training", f"training {name}", self.method.phase_ends, steps, drawn
        )
        while (number := len(self.history) + 1) <= self.epochs:
            started = time.perf_counter()
            losses = self._train_epoch(watch, number, drawn)
            self.history.append(TrainingEpoch(number, losses, time.perf_counter() - started))
            emit(self.history[-1])
            yield self.history[-1]

    def _train_epoch(self, watch: TrainingMonitor, number: int, drawn: int) -> dict[str, float]:
        rng, device = default_rng([self.method.seed, number]), best_device()
        order = rng.permutation(len(self.cached[0]))[:drawn].tolist()
        self._set_rates(self.method.lr_factor(number))
        self.networks.train()
        sums: dict[str, float] = {}
        with torch.random.fork_rng():
            torch.manual_seed(int(rng.integers(2**63)))
            for batch in watch.iterate(
                number, self.method.training_batches(self.cached, order, number)
            ):
                losses = self.method.loss(self.networks, [one.to(device) for one in batch])
                self._step(losses, watch)
                sums = {name: sums.get(name, 0.0) + loss.item() for name, loss in losses.items()}
        return {name: total / watch.steps for name, total in sums.items()}

    def _step(self, losses: Losses, watch: TrainingMonitor) -> None:
        whole = torch.stack(list(losses.values())).sum()
        # Before the way back: torch's grid_sample dies of such numbers there (pytorch issue 24823).
        watch.check_loss(
            whole.item(), "and nothing was learned from it; try another seed or lower rates"
        )
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        whole.backward()
        if self.method.max_grad_norm is not None:
            nn.utils.clip_grad_norm_(self.networks.parameters(), self.method.max_grad_norm)
        for optimizer in self.optimizers:
            optimizer.step()

    def _set_rates(self, pace: float) -> None:
        for optimizer, rates in zip(self.optimizers, self.rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * pace

    def state_dict(self) -> State:
        own = {f"networks.{name}": tensor for name, tensor in self.networks.state_dict().items()}
        for place, optimizer in enumerate(self.optimizers):
            for number, slots in optimizer.state_dict()["state"].items():
                own |= {
                    f"optimizer.{place}.{number}.{name}": value for name, value in slots.items()
                }
        return {name: tensor.cpu().contiguous() for name, tensor in own.items()}

    def load_state_dict(self, state: Mapping[str, Tensor], history: list[TrainingEpoch]) -> None:
        self.networks.load_state_dict(_with_prefix("networks.", state))
        for place, optimizer in enumerate(self.optimizers):
            slots: dict[int, State] = {}
            for name, tensor in _with_prefix(f"optimizer.{place}.", state).items():
                number, slot = name.split(".")
                slots.setdefault(int(number), {})[slot] = tensor
            optimizer.load_state_dict(optimizer.state_dict() | {"state": slots})
        self.history[:] = history

    def parse_epoch(self, epoch: dict[str, Any]) -> TrainingEpoch:
        return TrainingEpoch(**epoch)

    def resume_key(self) -> str:
        # Where weights come from is no part of it: their fingerprint says what they are.
        free = set(_NOT_ABOUT) - set(self.method.resume_keys)
        options = {name: value for name, value in self.method.options().items() if name not in free}
        about = (
            type(self.method).__name__,
            options,
            self.digest,
            self.method.feature_extractor.fingerprint(),
        )
        return hashlib.sha256(repr(about).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        history = [epoch._asdict() for epoch in self.history]
        return {
            "method": type(self.method).__name__,
            "options": self.method.options(),
            "history": history,
        }

    def plot(self) -> bytes:
        return plot_losses([epoch.losses for epoch in self.history])


def _check_memory(taken: list[Tensor], batches: int) -> None:
    """Refuse what this machine has not the memory for, before it is reserved."""
    need, free = (
        batches * sum(one.numel() * one.element_size() for one in taken),
        available_memory(),
    )
    if free is not None and need > free:
        raise OptionError(
            f"to train on {batches * len(taken[0])} images takes {need / 1e9:.2f} GB and "
            f"{free / 1e9:.2f} GB are "
            "free; use fewer images, a smaller size, or a backbone with fewer channels"
        )


_NOT_ABOUT = ("epochs", "weights")
"""Options that a training may be gone on with other values of."""


def _with_prefix(prefix: str, state: Mapping[str, Tensor]) -> State:
    return {name.removeprefix(prefix): state[name] for name in state if name.startswith(prefix)}
