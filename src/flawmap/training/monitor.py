"""Watches a training: progress, forecast, finite losses."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence

from flawmap.errors import TrainingError
from flawmap.support.progress import emit, report_progress
from flawmap.training.loop import T
from flawmap.training.metrics import TrainingForecast

FORECAST_STEPS = 3
"""Steps before the forecast; the first of them sets up and does not count."""


class TrainingMonitor:
    """Says how far a training is and how long it will take; stops it where its loss is no number.

    Args:
        what: is done, as "Fine-tuning".
        stage: the same for a bar, as "fine-tuning the backbone".
        ends: the last epoch of each phase; each phase has a forecast of its own.
        steps: of each epoch.
        images: in each.
    """

    def __init__(self, what: str, stage: str, ends: Sequence[int], steps: int, images: int) -> None:
        self.what, self.stage, self.ends, self.steps, self.images = what, stage, ends, steps, images
        self._forecast = 0
        self._epoch = self._place = 0

    def iterate(self, epoch: int, batches: Iterable[T]) -> Iterator[T]:
        """Pass the batches of an epoch through.

        After the first few that are done, tells how long the rest takes.
        """
        started, end = time.perf_counter(), min(one for one in self.ends if one >= epoch)
        for place, batch in enumerate(batches, start=1):
            self._epoch, self._place = epoch, place
            report_progress(
                self.stage, (epoch - 1) * self.steps + place - 1, self.ends[-1] * self.steps
            )
            yield batch
            if place == 1 < self.steps:
                started = time.perf_counter()
            if self._forecast < end and place == min(FORECAST_STEPS, self.steps):
                self._forecast, left = end, end - epoch + 1
                each = (time.perf_counter() - started) / max(1, place - 1)
                emit(TrainingForecast(left, self.images, each * self.steps * left, self.what))
        report_progress(self.stage, epoch * self.steps, self.ends[-1] * self.steps)

    def check_loss(self, loss: float, advice: str) -> None:
        """Look at the loss of a step, before anything is learned from it.

        Raises:
            TrainingError: it is infinite or no number.
        """
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss} in epoch {self._epoch}, step {self._place} of "
                f"{self.steps}, {advice}"
            )
