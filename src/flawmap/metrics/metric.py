"""A figure that can be trusted: its value with an interval, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Metric:
    """One figure of an evaluation, 0…1.

    Args:
        value: the figure over all images; None where it cannot be had.
        low: the lower end of its 95 % interval, where there is one.
        high: the upper end.
        absent: why it cannot be had.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    unavailable: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Say it in JSON: what is not there is left out, never 0 or NaN."""
        return {name: value for name, value in vars(self).items() if value not in (None, "")}
