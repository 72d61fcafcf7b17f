"""The states of a station, in one table; each interface shows the same."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Facts(NamedTuple):
    """What follows from a state.

    Args:
        text: for people.
        ready: whether parts are judged at once.
        accepts: whether parts are taken in.
        colour: of the page.
    """

    text: str
    ready: bool
    accepts: bool
    colour: str


class State(Enum):
    """What a station is doing.

    Example:
        >>> State.HALTED.ready, State.HALTED.accepts
        (False, False)
    """

    STARTING = Facts("starting", ready=False, accepts=False, colour="grey")
    NOT_READY = Facts("not ready", ready=False, accepts=False, colour="amber")
    READY = Facts("ready", ready=True, accepts=True, colour="green")
    JUDGING = Facts("judging", ready=True, accepts=True, colour="green")
    HALTED = Facts("halted", ready=False, accepts=False, colour="grey")
    ERROR = Facts("error", ready=False, accepts=False, colour="red")

    @property
    def text(self) -> str:
        """For people."""
        return self.value.text

    @property
    def ready(self) -> bool:
        """Whether parts are judged at once."""
        return self.value.ready

    @property
    def accepts(self) -> bool:
        """Whether parts are taken in."""
        return self.value.accepts
