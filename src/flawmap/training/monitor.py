"""Watches a training: progress, forecast, finite losses."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from flawmap.errors import TrainingError
from flawmap.support.progress import emit, report_progress
from flawmap.training.metrics import TrainingForecast

_T = TypeVar("_T")

_FORECAST_STEPS = 3
"""Steps before the forecast; the first of them sets up and does not count."""


class TrainingMonitor:
    """Reports progress, forecasts the duration, and stops where the loss is not finite.

    Args:
        noun: what is done, in lower case, as "fine-tuning".
        stage: the same for a progress bar, as "fine-tuning the backbone".
        phase_ends: the last epoch of each phase; each phase has a forecast of its own.
        num_steps: steps of each epoch.
        num_images: images of each epoch.
        advice: end of the message about a loss that is not finite: what the user can do.

    Example:
        >>> monitor = TrainingMonitor("fine-tuning", "fine-tuning", [2], 3, 24, advice="rest")
        >>> list(monitor.iterate(1, "abc"))
        ['a', 'b', 'c']
        >>> monitor.check_loss(float("nan"))
        Traceback (most recent call last):
        flawmap.errors.TrainingError: the loss became nan in epoch 1, step 3 of 3; rest
    """

    def __init__(
        self,
        noun: str,
        stage: str,
        phase_ends: Sequence[int],
        num_steps: int,
        num_images: int,
        *,
        advice: str,
    ) -> None:
        self.noun = noun
        self.phase_ends = phase_ends
        self.num_steps = num_steps
        self._stage = stage
        self._num_images = num_images
        self._advice = advice
        self._forecast_to = 0
        self._epoch = 0
        self._step = 0

    @property
    def epochs(self) -> int:
        """Number of epochs of all phases."""
        return self.phase_ends[-1]

    def iterate(self, epoch: int, batches: Iterable[_T]) -> Iterator[_T]:
        """The batches of an epoch, unchanged; the forecast comes after the first few.

        Args:
            epoch: its number, counted from 1.
            batches: one for each step; a batch is done when the next one is requested.
        """
        self._epoch = epoch
        started = time.perf_counter()
        for step, batch in enumerate(batches, start=1):
            self._step = step
            self._report(step - 1)
            yield batch
            if step == 1 < self.num_steps:
                started = time.perf_counter()
            if step == min(_FORECAST_STEPS, self.num_steps):
                self._forecast((time.perf_counter() - started) / max(1, step - 1))
        self._report(self.num_steps)

    def check_loss(self, loss: float) -> None:
        """Refuse the loss of a step that is not finite, before any weight is changed by it.

        Args:
            loss: of the present step.

        Raises:
            TrainingError: it is infinite or not a number.
        """
        if not math.isfinite(loss):
            raise self.error(f"the loss became {loss}")

    def error(self, problem: str) -> TrainingError:
        """An error that names epoch and step, and what the user can do.

        Args:
            problem: what is wrong, as "the loss became nan".
        """
        position = f"in epoch {self._epoch}, step {self._step} of {self.num_steps}"
        return TrainingError(f"{problem} {position}; {self._advice}")

    def _report(self, done: int) -> None:
        before = (self._epoch - 1) * self.num_steps
        report_progress(self._stage, before + done, self.epochs * self.num_steps)

    def _forecast(self, seconds_per_step: float) -> None:
        end = min(phase_end for phase_end in self.phase_ends if phase_end >= self._epoch)
        if self._forecast_to >= end:
            return
        self._forecast_to = end
        epochs_left = end - self._epoch + 1
        seconds = seconds_per_step * self.num_steps * epochs_left
        emit(TrainingForecast(epochs_left, self._num_images, seconds, self.noun.capitalize()))
