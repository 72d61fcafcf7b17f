"""What a fork and the end of the interpreter do to objects that compute in threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from flawmap.errors import ForkError

_LONGEST_CALL_SECONDS = 10.0
"""How long the interpreter waits at its end for calls that have begun."""


class HomeProcess:
    """The process in which an object was made that computes in threads.

    A fork copies the memory of such an object and none of its threads, so the copy would wait for
    them forever.

    Args:
        what: the object, as the message names it.

    Example:
        >>> HomeProcess("the inspector").check()
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._pid = os.getpid()

    @property
    def is_here(self) -> bool:
        """Whether this is that process."""
        return os.getpid() == self._pid

    def check(self) -> None:
        """Do nothing here; refuse in a process that was forked from the home process.

        Raises:
            ForkError: this is another process.
        """
        if self.is_here:
            return
        raise ForkError(
            f"{self._what} was loaded in process {self._pid} and cannot compute in process "
            f"{os.getpid()}, which was forked from it, since threads do not survive a fork; start "
            f"processes with multiprocessing's 'spawn', or fork first and load it in each process"
        )


class _Calls:
    """The calls of libraries that run now, in all threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running = 0
        self._is_over = False
        self._of_thread = threading.local()

    @contextmanager
    def one(self) -> Iterator[None]:
        depth = getattr(self._of_thread, "depth", 0)
        if not depth:
            self._begin()
        self._of_thread.depth = depth + 1
        try:
            yield
        finally:
            self._of_thread.depth = depth
            if not depth:
                self._end()

    def _begin(self) -> None:
        with self._changed:
            # The process ends while a daemon thread waits here; the main thread cleans up.
            while self._is_over and threading.current_thread() is not threading.main_thread():
                self._changed.wait()
            self._running += 1

    def _end(self) -> None:
        with self._changed:
            self._running -= 1
            self._changed.notify_all()

    def end(self) -> None:
        with self._changed:
            self._is_over = True
            self._changed.wait_for(lambda: not self._running, _LONGEST_CALL_SECONDS)


_calls = _Calls()


@contextmanager
def library_call() -> Iterator[None]:
    """Inside the `with` block a library in C++ computes, and the interpreter does not end.

    At the end of the interpreter Python ends each daemon thread that comes back from such a call,
    and with it, since C++ does not expect that, the whole process by SIGABRT. So whoever loads such
    a library calls `end_library_calls` at the end.

    >>> with library_call():
    ...     pass
    """
    with _calls.one():
        yield


def end_library_calls() -> None:
    """Wait until no library computes in any thread, and let none begin but in the main thread.

    For the end of the interpreter.
    """
    _calls.end()


def _forget_calls() -> None:
    """In a forked process the threads are gone whose calls were counted."""
    global _calls  # noqa: PLW0603
    _calls = _Calls()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_calls)
