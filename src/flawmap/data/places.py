"""What the names of the folders above an image say of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from flawmap.data.labels import (
    is_content_word,
    is_defect_name,
    is_defect_word,
    is_good_word,
    is_mask_word,
    split_of_word,
)
from flawmap.data.paths import fold_name
from flawmap.data.sample import Split

_SAMPLE_FOLDER = re.compile(r"S\d{3,}")
"""Real-IAD has a folder for each part below that of its type of defect."""


class Place(NamedTuple):
    """What the folders above an image say of it.

    Args:
        split: of the first folder that names one; None where none does.
        label: name of the folder that says good or defective; None where none does.
        is_mask: whether a folder says that masks are in it.
        context: the names that say more than split, masks or images, in one spelling: an image and
            its mask have the same.
    """

    split: Split | None = None
    label: str | None = None
    is_mask: bool = False
    context: tuple[str, ...] = ()


def read_place(parts: tuple[str, ...], not_masks: frozenset[str] = frozenset()) -> Place:
    """What the names of folders say, from the data set's down to the image's.

    Whatever else a path says, below a folder that is named for defects nothing is good.

    Args:
        parts: names of the folders below that of the data set.
        not_masks: names in lower case that are types of defects although they could name masks.

    Example:
        >>> read_place(("test_public", "ground_truth", "bad"))
        Place(split='test', label='bad', is_mask=True, context=('bad',))
        >>> read_place(("train", "good", "day 1", "NG")).label
        'NG'
    """
    split: Split | None = None
    label: str | None = None
    is_mask = False
    context = []
    for index, part in enumerate(parts):
        named_split = split_of_word(part)
        if named_split and split is None:
            split = named_split
        elif is_mask_word(part) and part.casefold() not in not_masks:
            is_mask = True
        elif not is_content_word(part):
            label = _label_of(label, part, parts[index + 1 :])
            context.append(fold_name(part))
    return Place(split, label, is_mask, tuple(context))


def group_of(parts: Sequence[str]) -> str:
    """The folder of a part of which there are several views; empty where there is none.

    Args:
        parts: names of the folders above an image.

    Example:
        >>> group_of(("OK", "S0012")), group_of(("OK", "day 1"))
        ('OK/S0012', '')
    """
    of_part = [index for index, name in enumerate(parts) if _SAMPLE_FOLDER.fullmatch(name)]
    return "/".join(parts[: of_part[-1] + 1]) if of_part else ""


def _label_of(label: str | None, part: str, below: tuple[str, ...]) -> str:
    """The label that holds from this folder on."""
    if label is None or (is_good_word(label) and is_defect_name(part)):
        return part
    is_type = is_defect_word(label) and any(_SAMPLE_FOLDER.fullmatch(name) for name in below)
    return part if is_type and not is_good_word(part) else label
