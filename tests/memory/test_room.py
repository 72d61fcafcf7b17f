from __future__ import annotations

from flawmap.memory.room import available_memory


def test_it_knows_the_memory_where_the_system_tells() -> None:
    free = available_memory()
    assert free is None or 2**24 < free < 2**50
