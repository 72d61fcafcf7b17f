"""A metric that can be trusted: its value with an interval, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Metric:
    """A metric of an evaluation, 0…1.

    Args:
        value: over all images; None where it is not available.
        low: the lower end of its 95 % interval; None where there is no interval.
        high: the upper end of its 95 % interval; None where there is no interval.
        unavailable: why there is no value; empty where there is one.

    >>> Metric(0.9, 0.8, 0.95)
    Metric(value=0.9, low=0.8, high=0.95, unavailable='')
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    unavailable: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The fields for a JSON file; what is unavailable is omitted, never 0 or NaN.

        >>> Metric(unavailable="no defective test images").to_dict()
        {'unavailable': 'no defective test images'}
        """
        return {name: value for name, value in vars(self).items() if value not in (None, "")}
