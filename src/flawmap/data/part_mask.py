"""The mask of a part as users give it: a file, an array, or to be found in the good images."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from flawmap.data.auto_mask import ChosenMask, find_mask
from flawmap.errors import ImageError, OptionError
from flawmap.runtime.image_types import ImageInput
from flawmap.runtime.images.decode import decode, decode_mask
from flawmap.runtime.images.image_input import name_of
from flawmap.runtime.mask import PartMask

_T = TypeVar("_T")

AUTO: Literal["auto"] = "auto"
"""In place of a mask: it is found in the good images."""

GivenMask = PartMask | Literal["auto"]
"""A mask that was read, or that is to be found."""

MaskInput = PartMask | str | os.PathLike[str] | np.ndarray
"""A mask as users have it.

The path of an image file, in which what is not black counts; an array (height, width), in which
what is not 0 counts; or `auto`, for the part against its background in the good images.
"""


def read_part_mask(mask: MaskInput) -> GivenMask:
    """The mask in a file or an array; `auto` as it is.

    Args:
        mask: as users have it.

    Raises:
        ImageError: the file cannot be read as an image.
        OptionError: nothing counts in it, or it is no mask.

    Example:
        >>> read_part_mask(np.eye(10)).share
        0.1
    """
    if isinstance(mask, PartMask):
        return mask
    if isinstance(mask, str) and mask == AUTO:
        return AUTO
    if isinstance(mask, np.ndarray):
        if mask.ndim != 2:
            raise OptionError(f"a mask of shape {mask.shape}; use (height, width)")
        return PartMask.of(mask != 0)
    pixels = decode_mask(Path(mask))
    if not pixels.any():
        raise OptionError(
            f"{name_of(mask)}: nothing counts, for all of it is black; draw white what counts"
        )
    return PartMask.of(pixels)


def choose_mask(
    mask: GivenMask, images: Sequence[ImageInput], white: int | None = None
) -> ChosenMask:
    """The mask for good images: as it was given, or as they show it.

    Args:
        mask: what `read_part_mask` returned.
        images: good images, of which those that cannot be read are passed over.
        white: the level of white in images of 16 bits; None for 65535.

    Raises:
        OptionError: the first image that can be read has another aspect than the mask.

    Example:
        >>> choose_mask(read_part_mask(np.eye(10)), [np.zeros((20, 20, 3), np.uint8)]).reason
        'as given'
    """
    if isinstance(mask, str):
        return find_mask(images, white)
    on_first_image(mask.at, images, white)
    return ChosenMask(mask, "as given")


def on_first_image(
    function: Callable[[int, int], _T], images: Sequence[ImageInput], white: int | None
) -> _T | None:
    """What a function makes of the size of the first image that can be read; None without one.

    Args:
        function: of height and width in pixels; raises `ImageError` for a size that cannot be.
        images: good images.
        white: the level of white in images of 16 bits; None for 65535.

    Raises:
        OptionError: the size of that image cannot be.

    Example:
        >>> images = [b"no image", np.zeros((20, 10, 3), np.uint8)]
        >>> on_first_image(lambda height, width: (height, width), images, None)
        (20, 10)
    """
    for image_input in images:
        try:
            height, width = decode(image_input, white).shape[:2]
        except ImageError:
            continue
        try:
            return function(height, width)
        except ImageError as error:
            raise OptionError(f"{name_of(image_input)}: {error}") from error
    return None


def check_mask_apart(mask: str | None, images: Sequence[ImageInput], what: str = "mask") -> None:
    """Nothing, where the file of a mask is not among the good images.

    Args:
        mask: as it was typed; None for none.
        images: good images.
        what: it is, for the message.

    Raises:
        OptionError: it is one of them, and would be learned.

    Example:
        >>> check_mask_apart("mask.png", [Path("good/1.png"), Path("good/mask.png")])
    """
    if mask is None:
        return
    own = Path(mask).resolve()
    paths = (image for image in images if isinstance(image, str | os.PathLike))
    if any(Path(path).resolve() == own for path in paths):
        raise OptionError(
            f"the {what} {mask} is among the good images, and would be learned; move it to another "
            "folder"
        )
