"""The time that a tuning may take."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from flawmap.errors import OptionError

Clock = Callable[[], float]
"""Time in seconds from any start."""

_GROWTH = 1.5
"""A trial takes so much longer for more work, as a power: the network once, the search twice."""


class TimeBudget:
    """Tells whether there is time for another trial, by the trials before.

    Args:
        minutes: time from now, more than 0.
        clock: tells the time.

    Raises:
        OptionError: no time.

    Example:
        >>> seconds = iter([0.0, 30.0, 30.0])
        >>> budget = TimeBudget(1, clock=lambda: next(seconds))
        >>> budget.add(work=1, seconds=10)
        >>> budget.allows(work=1), budget.allows(work=4)
        (True, False)
    """

    def __init__(self, minutes: float, clock: Clock = time.monotonic) -> None:
        if not (minutes > 0 and math.isfinite(minutes)):
            raise OptionError(f"{minutes:g} minutes to tune in; give more than 0, such as 5")
        self._clock = clock
        self._start = clock()
        self._seconds = 60 * minutes
        self._trials: list[tuple[float, float]] = []

    def add(self, work: float, seconds: float) -> None:
        """Learn from a trial.

        Args:
            work: of an image, in any unit.
            seconds: that the trial took.
        """
        self._trials.append((work, seconds))

    def allows(self, work: float) -> bool:
        """Whether a trial is expected to end in time; the first always is.

        Args:
            work: of an image, in the unit of `add`.
        """
        if not self._trials:
            return True
        likest, seconds = min(self._trials, key=lambda trial: abs(math.log(trial[0] / work)))
        # For less work no less time is expected: some of it goes to what does not depend on it.
        expected = seconds * max(work / likest, 1) ** _GROWTH
        return bool(self.elapsed + expected <= self._seconds)

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._start
