"""How far along a long job is, for whoever listens.

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
from itertools import count
from typing import TypeVar

_T = TypeVar("_T")

_ProgressHandler = Callable[[str, int, int], None]
"""Called with the stage in words, the steps done and the steps in all."""

Event = object
"""What is more than a step: an epoch's metrics, a forecast, or a sentence.

See `training.metrics`.
"""

_EventHandler = Callable[[Event], None]
"""Called with each event."""

_progress_handler: ContextVar[_ProgressHandler | None] = ContextVar("progress", default=None)
_event_handler: ContextVar[_EventHandler | None] = ContextVar("event", default=None)


@contextmanager
def listen(on_progress: _ProgressHandler, on_event: _EventHandler | None = None) -> Iterator[None]:
    """Pass on progress and events that are reported inside the `with` block.

    Args:
        on_progress: called with each step.
        on_event: called with each event; None for nobody.

    Example:
        >>> with listen(print, on_event=print):
        ...     report_progress("reading", 1, 2)
        ...     emit("halfway")
        reading 1 2
        halfway
    """
    progress_token = _progress_handler.set(on_progress)
    event_token = _event_handler.set(on_event)
    try:
        yield
    finally:
        _progress_handler.reset(progress_token)
        _event_handler.reset(event_token)


def report_progress(stage: str, done: int, total: int) -> None:
    """Report how many steps of a stage are done, to whoever listens.

    Args:
        stage: what is being done, in words.
        done: number of steps that are done.
        total: number of steps in all.
    """
    handler = _progress_handler.get()
    if handler:
        handler(stage, done, total)


def emit(event: Event) -> None:
    """Report what is more than a step, to whoever listens.

    Args:
        event: an epoch's metrics, a forecast, or a sentence.
    """
    handler = _event_handler.get()
    if handler:
        handler(event)


def track(items: Iterable[_T], stage: str, total: int) -> Iterator[_T]:
    """The items one by one; after each it is reported how many of them are done.

    Args:
        items: what is gone through.
        stage: what is being done with them, in words.
        total: number of items.
    """
    report_progress(stage, 0, total)
    numbers = count(1)
    # Not by `enumerate`, which holds an item while the next one is made.
    for item in items:
        yield item
        del item
        report_progress(stage, next(numbers), total)
