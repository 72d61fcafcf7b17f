"""How the work of a bank is spread over the cores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

_T = TypeVar("_T")


@contextmanager
def single_threaded() -> Iterator[None]:
    """Keep each of torch's operations to one thread, inside the `with` block.

    In thousands of small steps the threads of an operation wait for one another at each end. Two
    save a third to a half on an idle machine, but beside another busy program they take ten to
    thirty times longer than one.

    Example:
        >>> with single_threaded():
        ...     torch.get_num_threads()
        1
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def map_in_threads(work: Callable[[_T], None], pieces: Sequence[_T]) -> Iterator[None]:
    """Do independent pieces of work, as many at a time as torch has threads.

    Each piece stays with one thread, so none waits for another before the end of all.

    Args:
        work: called with each piece; what it raises is raised here.
        pieces: what to work on.

    Returns:
        An iterator that yields None after each piece, in their order; nothing is done before it is
        used.

    Example:
        >>> results = []
        >>> for _ in map_in_threads(results.append, [1, 2, 3]):
        ...     pass
        >>> sorted(results)
        [1, 2, 3]
    """
    threads = torch.get_num_threads()
    with single_threaded(), ThreadPoolExecutor(threads) as pool:
        yield from pool.map(work, pieces)
