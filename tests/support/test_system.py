from __future__ import annotations

from flawmap.support.system import available_memory, describe_system


def test_it_knows_the_memory_where_the_system_tells() -> None:
    free = available_memory()
    assert free is None or 2**24 < free < 2**50


def test_it_says_what_a_time_was_measured_on() -> None:
    assert " cores, " in describe_system()
