"""Which sides a network's input can have."""

from __future__ import annotations

MIN_INPUT_SIDE = 32
"""Smallest side of a network's input, in pixels; deeper layers of a smaller one have no area."""


def round_to_multiple(length: float, multiple: int) -> int:
    """The multiple nearest to a length, at least one of it.

    Args:
        length: in pixels, >= 0.
        multiple: in pixels, 1 or more.

    >>> round_to_multiple(100, 32), round_to_multiple(3, 32)
    (96, 32)
    """
    return max(1, round(length / multiple)) * multiple


def round_up(length: int, multiple: int) -> int:
    """The least multiple that is no smaller than a length.

    Args:
        length: in pixels, >= 0.
        multiple: in pixels, 1 or more.

    >>> round_up(100, 32), round_up(96, 32)
    (128, 96)
    """
    return -(-length // multiple) * multiple
