"""Sides of whole patches."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flawmap.runtime.input_sides import round_to_multiple


@given(st.floats(0, 1e5), st.integers(1, 64))
def test_the_nearest_multiple_is_nearest_and_one_at_least(length: float, multiple: int) -> None:
    rounded = round_to_multiple(length, multiple)
    assert rounded % multiple == 0
    assert rounded == multiple or abs(rounded - length) <= multiple / 2
