"""How far along a long job is, for whoever listens; nobody does unless asked.

The rooms below `cli.py` say what they are doing with `track` and `step` and never print. The command line listens
and draws bars; a script that does not care hears nothing.

>>> heard = []
>>> with listening(lambda stage, done, total: heard.append((stage, done, total))):
...     for _ in track("ab", "reading", 2):
...         pass
>>> heard
[('reading', 0, 2), ('reading', 1, 2), ('reading', 2, 2)]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")

Listener = Callable[[str, int, int], None]
"""Called with the stage in words, the steps done and the steps in all."""

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Let `listener` hear all progress made inside the `with` block, in this thread."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def step(stage: str, done: int, total: int) -> None:
    """Say that `done` of `total` steps of `stage` are done."""
    if listener := _listener.get():
        listener(stage, done, total)


def track(items: Iterable[T], stage: str, total: int) -> Iterator[T]:
    """Pass `items` through, saying after each how many of `total` are done."""
    step(stage, 0, total)
    for done, item in enumerate(items, start=1):
        yield item
        step(stage, done, total)
