"""Errors as lines, of which many of one kind are summed up."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

_SHOWN = 3
"""Errors of a kind that are printed; the others are counted."""


class Repeats:
    """Errors of which only the first ones of each kind are shown.

    Two are of one kind where their messages differ in the file and in numbers alone.

    Args:
        where_all: where every one of them can be read, such as `results.csv has all`; empty for
            nowhere.

    Example:
        >>> repeats = Repeats("results.csv has all")
        >>> [repeats.shows(f"{name}.png: the file is empty", f"{name}.png") for name in "abcde"]
        [True, True, True, False, False]
        >>> list(repeats.rest())
        ['… and 2 more like this: the file is empty; results.csv has all']
    """

    def __init__(self, where_all: str = "") -> None:
        self._where_all = where_all
        self._counts: Counter[str] = Counter()
        self._messages: dict[str, str] = {}

    def shows(self, error: str, file: str = "") -> bool:
        """Whether an error is among the first ones of its kind.

        Args:
            error: the message, which begins with the file.
            file: the file, where it is known.
        """
        message = _without_file(error, file)
        kind = re.sub(r"\d+", "0", message)
        self._messages.setdefault(kind, message)
        self._counts[kind] += 1
        return self._counts[kind] <= _SHOWN

    def rest(self) -> Iterator[str]:
        """A line for each kind of which there were more."""
        tail = f"; {self._where_all}" if self._where_all else ""
        for kind, count in self._counts.items():
            if count > _SHOWN:
                yield f"… and {count - _SHOWN} more like this: {self._messages[kind]}{tail}"


def sum_up(errors: Iterable[str], where_all: str = "") -> Iterator[str]:
    """Errors as lines: the first ones of each kind, and how many more there are.

    Args:
        errors: messages, each of which begins with its file.
        where_all: as `Repeats` takes it.

    Example:
        >>> list(sum_up(["a.png: broken", "b.png: broken"]))
        ['a.png: broken', 'b.png: broken']
    """
    repeats = Repeats(where_all)
    yield from (error for error in errors if repeats.shows(error))
    yield from repeats.rest()


def _without_file(error: str, file: str) -> str:
    if file and error.startswith(f"{file}: "):
        return error.removeprefix(f"{file}: ").replace(file, "…")
    return error.partition(": ")[2] or error
