"""A limit on the bytes that threads hold in advance."""

from __future__ import annotations

from threading import Condition


class Room:
    """Room for so many bytes of results that are to be used in order.

    Threads wait until theirs has room. The oldest result that was not used yet always has, however
    large it is, so that whoever waits for it gets it.

    Args:
        size: in bytes.

    Example:
        >>> room = Room(1000)
        >>> room.take(0, 5000)
        True
        >>> room.give_back(0)
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: dict[int, int] = {}
        self._oldest = 0
        self._is_closed = False
        self._changed = Condition()

    def take(self, number: int, size: int) -> bool:
        """Wait until there is room for a result, in place of what it has so far.

        Args:
            number: of the result, from 0.
            size: in bytes; one that is no larger than before is not waited for.

        Returns:
            False where nobody waits for the results any more, so that they need not be made.
        """

        def has_room() -> bool:
            others = sum(self._held.values()) - self._held.get(number, 0)
            is_no_larger = size <= self._held.get(number, -1)
            is_next = number <= self._oldest
            return self._is_closed or is_next or is_no_larger or others + size <= self._size

        with self._changed:
            self._changed.wait_for(has_room)
            self._held[number] = size
            self._changed.notify_all()
            return not self._is_closed

    def give_back(self, number: int) -> None:
        """Say that a result, and all before it, are no longer held.

        Args:
            number: of the result.
        """
        with self._changed:
            self._held.pop(number, None)
            self._oldest = number + 1
            self._changed.notify_all()

    def close(self) -> None:
        """Let all threads end, since nobody waits for their results any more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
