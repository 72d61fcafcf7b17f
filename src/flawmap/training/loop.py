"""The one training loop, of fine-tuning, trained methods and registration.

A training is a `TrainingRun`. It reports its progress, stops at a loss that is not finite and,
where it is given a folder, leaves a checkpoint there after every epoch, from which the same
training resumes to the same result, bit for bit on one kind of machine.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from flawmap.errors import TrainingError, WriteError
from flawmap.render.curves import plot_losses
from flawmap.support.atomic import atomic_write
from flawmap.support.progress import emit
from flawmap.support.tables import write_json
from flawmap.training.checkpoint import (
    Checkpoint,
    load_optimizer_state,
    optimizer_state,
    with_prefix,
)
from flawmap.training.metrics import EpochMetrics
from flawmap.training.monitor import TrainingMonitor

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_N = TypeVar("_N", bound=nn.Module)


class TrainingRun(ABC, Generic[_N]):
    """A training that may be stopped after any epoch and resumed, to the same result.

    A subclass says what an epoch does, what identifies the training, and what is kept of it.

    Args:
        networks: all that is trained, on the device where it is trained.
        optimizers: of the networks' parameters, at the learning rates of the first epoch.
        monitor: epochs, steps and wording of the training.
        max_grad_norm: largest gradient norm over all networks, clipped beyond it; None for no
            clipping.

    Attributes:
        history: the epochs that are done.
    """

    def __init__(
        self,
        networks: _N,
        optimizers: list[Optimizer],
        monitor: TrainingMonitor,
        max_grad_norm: float | None = None,
    ) -> None:
        self.networks = networks
        self.optimizers = optimizers
        self.monitor = monitor
        self.max_grad_norm = max_grad_norm
        self.history: list[EpochMetrics] = []

    @abstractmethod
    def train_epoch(self, number: int) -> dict[str, float]:
        """Train one epoch; every batch comes through `monitor.iterate`, every loss to `step`.

        Args:
            number: of the epoch, counted from 1. All that is random follows from it and the seed,
                or from what `state_dict` holds.

        Returns:
            Mean of each part of the loss by name.
        """

    @abstractmethod
    def resume_key(self) -> str:
        """Hash of images, settings and first weights; see `hash_of`.

        A longer training is the same one, unless its epochs depend on how many there are.
        """

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """What `history.json` holds: settings, and the epochs under `history`."""

    def plot(self) -> bytes:
        """The curves so far, as a PNG: each part of the loss, unless overridden."""
        return plot_losses([epoch.losses for epoch in self.history])

    def validate(self) -> dict[str, float]:
        """Fields of `EpochMetrics` that are measured after an epoch; none unless overridden."""
        return {}

    def run(self, folder: Path | None = None) -> None:
        """Train to the last epoch.

        Args:
            folder: for a checkpoint after each epoch, `history.json`, `curves.png` and
                TensorBoard's files; None keeps nothing.

        Raises:
            TrainingError: the loss became infinite or not a number.
            WriteError: the folder cannot be written; what was there before still is.
        """
        if folder is None:
            deque(self.run_epochs(), maxlen=0)
            return
        key = self.resume_key()
        self._resume(folder / _CHECKPOINT, key)
        with _tensorboard_writer(folder, len(self.history)) as writer, self._report_interrupt():
            for epoch in self.run_epochs():
                Checkpoint(key, self.history, self.state_dict()).write(folder / _CHECKPOINT)
                write_json(folder / "history.json", self.to_dict())
                with atomic_write(folder / "curves.png") as stream:
                    stream.write(self.plot())
                for name, value in epoch.scalars().items():
                    writer.add_scalar(name, value, epoch.number)
                writer.flush()

    def run_epochs(self) -> Iterator[EpochMetrics]:
        """Train the remaining epochs; yields each when it is done, after adding it to the history.

        Raises:
            TrainingError: the loss became infinite or not a number.
        """
        while len(self.history) < self.monitor.epochs:
            number = len(self.history) + 1
            started = time.perf_counter()
            losses = self.train_epoch(number)
            measured = self.validate()
            seconds = time.perf_counter() - started
            epoch = EpochMetrics(number, losses, seconds, **measured)
            self.history.append(epoch)
            emit(epoch)
            yield epoch

    def step(self, loss: Tensor) -> None:
        """Change the weights once.

        Args:
            loss: of a batch, one number with its history.

        Raises:
            TrainingError: it is infinite or not a number.
        """
        # Before the backward pass: torch's grid_sample dies of such numbers there (pytorch issue
        # 24823).
        self.monitor.check_loss(loss.item())
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss.backward()
        if self.max_grad_norm is not None:
            nn.utils.clip_grad_norm_(self.networks.parameters(), self.max_grad_norm)
        for optimizer in self.optimizers:
            optimizer.step()

    @property
    def device(self) -> torch.device:
        """Where the networks are trained."""
        return next(self.networks.parameters()).device

    def state_dict(self) -> dict[str, Tensor]:
        """All tensors that are needed to resume: weights and optimizer state."""
        weights = self.networks.state_dict()
        named = {f"networks.{name}": tensor for name, tensor in weights.items()}
        return named | optimizer_state(self.optimizers)

    def load_state_dict(self, state: Mapping[str, Tensor], history: list[EpochMetrics]) -> None:
        """Take over the state of a training that was stopped.

        Args:
            state: what `state_dict` gave.
            history: the epochs that led there.
        """
        self.networks.load_state_dict(with_prefix("networks.", state))
        load_optimizer_state(self.optimizers, state)
        self.history[:] = history

    def _resume(self, file: Path, key: str) -> None:
        """Resume from a checkpoint, unless it is of another training or of a longer one."""
        if not file.exists():
            return
        noun = self.monitor.noun
        try:
            checkpoint = Checkpoint.read(file)
        except TrainingError as error:
            emit(f"{error}; the {noun} starts again")
            return
        done = len(checkpoint.history)
        if checkpoint.key != key or done > self.monitor.epochs:
            emit(f"{file} is of other images or settings; the {noun} starts again")
            return
        emit(f"The {noun} resumes after epoch {done} of {self.monitor.epochs}")
        self.load_state_dict(checkpoint.state, checkpoint.history)

    @contextmanager
    def _report_interrupt(self) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            done = f"epoch {len(self.history)} of {self.monitor.epochs}"
            emit(f"Stopped; the same command resumes after {done}")
            raise


_CHECKPOINT = "checkpoint.safetensors"


@contextmanager
def _tensorboard_writer(folder: Path, done: int) -> Iterator[SummaryWriter]:
    """A writer of TensorBoard's files inside the `with` block.

    What an interrupted run wrote beyond its last checkpoint is not shown twice.
    """
    # Imported here, since it takes a second and few train.
    from torch.utils.tensorboard import SummaryWriter

    try:
        with SummaryWriter(str(folder), purge_step=done + 1) as writer:
            yield writer
    except OSError as error:
        raise WriteError(f"{folder}: the curves could not be written ({error.strerror})") from error
