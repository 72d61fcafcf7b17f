"""How notes on data sets count and list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flawmap.data.labels import is_defect_word, is_good_word
from flawmap.errors import ImageError

_MAX_NAMED = 8
"""Names in a list; of the others it says how many they are."""

_MAX_ERRORS = 3
"""Images whose errors a message quotes."""


def count(number: int, one: str, many: str) -> str:
    """A number and the noun that suits it.

    Args:
        number: how many.
        one: the words for one.
        many: the words for none and for several.

    Example:
        >>> count(1, "image is", "images are"), count(2, "image is", "images are")
        ('1 image is', '2 images are')
    """
    return f"{number} {one if number == 1 else many}"


def list_counts(counts: Mapping[str, int]) -> str:
    """Names with their numbers, the first ones of many.

    Args:
        counts: number by name.

    Example:
        >>> list_counts({"dent": 2, "scratch": 1})
        'dent (2), scratch (1)'
    """
    names = list(counts)
    listed = ", ".join(f"{name} ({counts[name]})" for name in names[:_MAX_NAMED])
    more = len(names) - _MAX_NAMED
    return f"{listed} and {more} more" if more > 0 else listed


def note_unknown_words(counts: Mapping[str, int], what: str) -> list[str]:
    """A line that lists words which say neither good nor defective, and so are defect types.

    Args:
        counts: number of images by word.
        what: what the words are, in the plural.

    Example:
        >>> note_unknown_words({"ok": 3, "dent": 2, "NG": 1}, "labels")
        ['labels taken for types of defects: dent (2)']
    """
    unknown = {
        word: counts[word] for word in counts if not is_good_word(word) and not is_defect_word(word)
    }
    return [f"{what} taken for types of defects: {list_counts(unknown)}"] if unknown else []


def first_errors(errors: Sequence[ImageError]) -> str:
    """Why the first images cannot be used, to stand behind an error; empty where there are none.

    Args:
        errors: of images that cannot be used.

    Example:
        >>> first_errors([ImageError("a.png: the file is empty")])
        '; a.png: the file is empty'
    """
    quoted = "".join(f"; {error}" for error in errors[:_MAX_ERRORS])
    more = len(errors) - _MAX_ERRORS
    return f"{quoted}; and {more} more" if more > 0 else quoted
