"""Waits for what other threads do."""

from __future__ import annotations

import time
from collections.abc import Callable

_LONGEST_S = 30.0


def wait_for(is_so: Callable[[], object], seconds: float = _LONGEST_S) -> None:
    """Return once something is so; fail where that takes too long."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)
