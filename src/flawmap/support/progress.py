"""How far along a long job is, for whoever listens; nobody does unless asked.

The rooms below `cli/` report what they are doing with `track` and `report_progress` and never
print. The command line listens and draws bars; a script that does not care hears nothing.

>>> heard = []
>>> with listen(lambda stage, done, total: heard.append((stage, done, total))):
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


ProgressHandler = Callable[[str, int, int], None]
"""Called with the stage in words, the steps done and the steps in all."""

Event = object
"""What is more than a step: an epoch's metrics, a forecast, or a sentence.

See `training.metrics`.
"""

EventHandler = Callable[[Event], None]
"""Called with each event."""

_listener: ContextVar[ProgressHandler | None] = ContextVar("listener", default=None)
_reader: ContextVar[EventHandler | None] = ContextVar("reader", default=None)


@contextmanager
def listen(listener: ProgressHandler, reader: EventHandler | None = None) -> Iterator[None]:
    """Pass progress inside the `with` block to `listener`, and events to `reader`."""
    tokens = _listener.set(listener), _reader.set(reader)
    try:
        yield
    finally:
        _listener.reset(tokens[0])
        _reader.reset(tokens[1])


def report_progress(stage: str, done: int, total: int) -> None:
    """Say that `done` of `total` steps of `stage` are done."""
    if listener := _listener.get():
        listener(stage, done, total)


def emit(news: Event) -> None:
    """Pass on what is more than a step."""
    if reader := _reader.get():
        reader(news)


def track(items: Iterable[T], stage: str, total: int) -> Iterator[T]:
    """Pass `items` through, saying after each how many of `total` are done."""
    report_progress(stage, 0, total)
    for done, item in enumerate(items, start=1):
        yield item
        report_progress(stage, done, total)
