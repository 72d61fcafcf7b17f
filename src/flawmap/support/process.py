"""Whether this is still the process in which something was made that a fork breaks."""

from __future__ import annotations

import os

from flawmap.errors import ForkError


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

    def check(self) -> None:
        """Do nothing here; refuse in a process that was forked from the home process.

        Raises:
            ForkError: this is another process.
        """
        if os.getpid() == self._pid:
            return
        raise ForkError(
            f"{self._what} was loaded in process {self._pid} and cannot compute in process "
            f"{os.getpid()}, which was forked from it, since threads do not survive a fork; start "
            f"processes with multiprocessing's 'spawn', or fork first and load it in each process"
        )
