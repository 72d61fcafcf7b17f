from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from flawmap.memory.threads import map_in_threads, single_threaded


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_operations_take_one_thread_inside_and_as_many_as_before_after(three_threads: None) -> None:
    with single_threaded():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3


def test_the_threads_come_back_after_an_error(three_threads: None) -> None:
    with pytest.raises(ValueError, match="inside"), single_threaded():
        raise ValueError("inside")
    assert torch.get_num_threads() == 3


def test_as_many_pieces_at_once_as_torch_has_threads(three_threads: None) -> None:
    # Each piece waits for two others; fewer threads would break the barrier.
    together = threading.Barrier(3, timeout=10)

    def wait(_: int) -> None:
        together.wait()

    assert len(list(map_in_threads(wait, range(6)))) == 6


def test_an_error_in_a_piece_is_raised_here() -> None:
    def divide(number: int) -> None:
        1 / number

    with pytest.raises(ZeroDivisionError):
        list(map_in_threads(divide, [1, 0]))
