"""How the memory's work is spread over the cores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

T = TypeVar("T")


@contextmanager
def single_threaded() -> Iterator[None]:
    """Keep each of torch's operations to one thread.

    In thousands of small steps the threads of one wait for one another at each end. Two save a
    third to a half on an idle machine, but beside another busy program they take ten to thirty
    times longer than one.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def map_in_threads(work: Callable[[T], None], parts: Sequence[T]) -> Iterator[None]:
    """Run independent pieces of work, as many at a time as torch has threads.

    Each part stays with one thread, so none waits for another before the end of all.
    """
    threads = torch.get_num_threads()
    with single_threaded(), ThreadPoolExecutor(threads) as pool:
        yield from pool.map(work, parts)
