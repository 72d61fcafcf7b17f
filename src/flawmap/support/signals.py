"""Signals that end a program, as an exception at a moment that suits it.

The first of them raises `Interrupted` in the main thread, as Ctrl-C raises `KeyboardInterrupt`. The
program then finishes what it has. Another signal while it does so is raised too, and the one after
that ends the process at once.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
"""Signals that ask a program to end; Windows has the last, all others the third."""

_SAME_SIGNAL_SECONDS = 0.5
"""GNU timeout, and a shell that ends, send a signal twice at once, and mean it once."""


class Interrupted(KeyboardInterrupt):
    """A signal asked this program to end.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class _Signals:
    """What has come so far, and whether it may be raised."""

    received: int | None = None
    received_at = 0.0
    pending = False
    holders = 0

    def handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.received is None:
            self.received, self.received_at = number, time.monotonic()
            if self.holders:
                self.pending = True
                return
        elif time.monotonic() - self.received_at < _SAME_SIGNAL_SECONDS:
            return
        else:
            # Raised even where signals are held: what holds them may wait for ever.
            signal.signal(number, signal.SIG_DFL)
        raise Interrupted(number)

    def release(self) -> None:
        self.holders -= 1
        if self.pending and not self.holders:
            self.pending = False
            raise Interrupted(self.received or signal.SIGINT)


_signals = _Signals()


def catch_signals() -> None:
    """Turn the signals that end a program into `Interrupted`, from now on.

    A signal that whoever started this program wants ignored stays ignored, as SIGHUP after nohup.
    """
    for name in _NAMES:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _signals.handle)


def received_signal() -> int | None:
    """Number of the first signal that `catch_signals` caught; None where there was none."""
    return _signals.received


@contextmanager
def hold_signals() -> Iterator[None]:
    """Inside the `with` block no signal is raised; it is raised at the end of the block instead.

    For steps that belong together and take milliseconds, such as a row in each of two tables. In
    another thread than the main one, in which Python raises no signal, this does nothing.

    >>> with hold_signals():
    ...     pass
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _signals.holders += 1
    try:
        yield
    finally:
        _signals.release()
