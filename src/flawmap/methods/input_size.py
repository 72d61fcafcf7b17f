"""How images are brought to the size of a method's input."""

from __future__ import annotations

from dataclasses import replace

from flawmap.data.auto_size import AutoSize, ChosenSize, InputSize
from flawmap.errors import NotFitted
from flawmap.methods.base import Method
from flawmap.runtime.preprocess import Preprocessing

_LETTERBOX_BEYOND = 0.1
"""Images whose aspect is off the input's by more than this fraction are letterboxed."""


def size_multiple(method: Method) -> int:
    """The number of pixels that the sides of a method's input are multiples of.

    Args:
        method: whose network reads the input.

    Returns:
        The stride of the deepest layer used, so that no layer's map ends in part of a patch.
    """
    return method.stride or 2 ** (max(method.layers) + 1)


def make_preprocessing(method: Method, height: int, width: int) -> Preprocessing:
    """How images are made ready for a method's network, which this builds.

    Images of another aspect than the input are letterboxed where the method masks padding, and
    stretched for all other methods.

    Args:
        method: the method.
        height: of the input, in pixels.
        width: of the input, in pixels.

    Raises:
        OptionError: timm has no such backbone, or the size cannot be.
        WeightsUnavailable: the backbone's weights cannot be had.

    Example:
        >>> from flawmap.methods import make_method
        >>> method = make_method("patchcore", letterbox=True)
        >>> make_preprocessing(method, 96, 160).letterbox_beyond
        0.1
    """
    backbone = method.feature_extractor
    return replace(resizing(method, height, width), mean=backbone.mean, std=backbone.std)


def resizing(method: Method, height: int, width: int) -> Preprocessing:
    """`make_preprocessing` without the backbone, whose mean and std are missing.

    Args:
        method: the method.
        height: of the input, in pixels.
        width: of the input, in pixels.

    Raises:
        OptionError: the size cannot be.
    """
    if not method.masks_padding:
        return Preprocessing(height, width)
    multiple = size_multiple(method)
    return Preprocessing(height, width, letterbox_beyond=_LETTERBOX_BEYOND, multiple=multiple)


def sides_of(size: InputSize | ChosenSize) -> tuple[int, int]:
    """Height and width of an input, in pixels.

    Args:
        size: as it was given, or as the images chose it.

    Raises:
        NotFitted: the images are to choose it, and have not yet.

    >>> sides_of(224), sides_of((224, 320))
    ((224, 224), (224, 320))
    """
    if isinstance(size, AutoSize):
        raise NotFitted("the good images choose the size (auto); call fit first")
    if isinstance(size, int):
        return size, size
    return size[0], size[1]
