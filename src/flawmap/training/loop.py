"""What every training here keeps to.

It says how far it is, stops at a loss that is no number, and can be gone on with.

A training is a `Course`. `Watch` looks over its steps; `Course.run` does it to the end and, where
it is given a folder, leaves a checkpoint there after every epoch, from which the same training goes
on if it was stopped.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from flawmap.support.atomic import atomic_write
from flawmap.support.progress import emit
from flawmap.support.tables import write_json
from flawmap.training.checkpoint import _tensorboard
from flawmap.training.metrics import FineTuneEpoch, TrainingEpoch

CHECKPOINT, HISTORY, CURVES = "checkpoint.safetensors", "history.json", "curves.png"
"""What a training leaves in its folder, beside TensorBoard's own files."""

T = TypeVar("T")
E = TypeVar("E", FineTuneEpoch, TrainingEpoch)


class TrainingRun(ABC, Generic[E]):
    """A training that may be stopped after any epoch and gone on with, to the same result.

    Attributes:
        epochs: how many there will be; no part of what the training is, so that it may be made
            longer.
        history: what came of those that are done.
    """

    noun: ClassVar[str] = "training"

    epochs: int
    history: list[E]

    @abstractmethod
    def run_epochs(self) -> Iterator[E]:
        """Train to the last epoch.

        Puts each into the history, tells of it and gives it as it ends.
        """

    @abstractmethod
    def state_dict(self) -> dict[str, Tensor]:
        """Give all tensors that are needed to go on, on the CPU."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Tensor], history: list[E]) -> None:
        """Take back what `state` gave, and the epochs that led there."""

    @abstractmethod
    def parse_epoch(self, epoch: dict[str, Any]) -> E:
        """Read an epoch from JSON."""

    @abstractmethod
    def resume_key(self) -> str:
        """Say in one hash what the training is about: images, settings, first weights."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Say all of it in JSON, the epochs under `history`."""

    @abstractmethod
    def plot(self) -> bytes:
        """Draw the curves so far as a PNG."""

    def run(self, folder: Path | None = None) -> None:
        """Train to the end.

        Args:
            folder: for a checkpoint after each epoch, `history.json`, `curves.png` and
                TensorBoard's files; None keeps nothing.

        Raises:
            TrainingError: the loss became infinite or no number.
            WriteError: the folder cannot be written; what was there before still is.
        """
        if folder is None:
            deque(self.run_epochs(), maxlen=0)
            return
        checkpoint, key = folder / CHECKPOINT, self.resume_key()
        self._go_on(checkpoint, key)
        with _tensorboard(folder, len(self.history)) as writer, self._saying_where_it_stopped():
            for epoch in self.run_epochs():
                report = self.to_dict()
                with atomic_write(checkpoint) as stream:
                    metadata = {"key": key, "history": json.dumps(report["history"])}
                    stream.write(to_safetensors(self.state_dict(), metadata))
                write_json(folder / HISTORY, report)
                with atomic_write(folder / CURVES) as stream:
                    stream.write(self.plot())
                for name, value in epoch.figures().items():
                    writer.add_scalar(name, value, epoch.number)
                writer.flush()

    def _go_on(self, checkpoint: Path, key: str) -> None:
        """Take up a training where it was stopped.

        One of other settings, or one that went on for longer, is not it.
        """
        if not checkpoint.exists():
            return
        try:
            with safe_open(checkpoint, "pt") as saved:
                metadata = saved.metadata() or {}
                state = {name: saved.get_tensor(name) for name in saved.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            emit(f"{checkpoint} cannot be read ({error}); the {self.noun} begins anew")
            return
        history = [self.parse_epoch(epoch) for epoch in json.loads(metadata.get("history", "[]"))]
        if metadata.get("key") != key or len(history) > self.epochs:
            emit(f"{checkpoint} is of other images or settings; the {self.noun} begins anew")
            return
        emit(f"The {self.noun} goes on after epoch {len(history)} of {self.epochs}")
        self.load_state_dict(state, history)

    @contextmanager
    def _saying_where_it_stopped(self) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            emit(
                f"Stopped; the same again goes on after epoch {len(self.history)} of {self.epochs}"
            )
            raise
