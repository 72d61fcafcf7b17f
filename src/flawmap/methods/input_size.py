"""How images are brought to the size of a method's input."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

from flawmap.data.auto_size import AutoSize, ChosenSize, InputSize
from flawmap.data.tile_size import TileSize
from flawmap.errors import NotFitted, OptionError
from flawmap.methods.base import Method
from flawmap.runtime.image_types import ImageInput
from flawmap.runtime.input_sides import round_to_multiple
from flawmap.runtime.preprocess import Preprocessing

_LETTERBOX_BEYOND = 0.1
"""Images whose aspect is off the input's by more than this fraction are letterboxed."""


def size_multiple(method: Method) -> int:
    """The number of pixels that the sides of a method's input are multiples of.

    Args:
        method: whose network reads the input.

    Returns:
        The stride of the deepest layer used, so that no layer's map ends in part of a patch; the
        patch of a transformer.
    """
    patch_size = method.feature_extractor.patch_size
    if patch_size:
        return patch_size
    return method.stride or 2 ** (max(method.layers) + 1)


def make_preprocessing(
    method: Method, height: int, width: int, tile_overlap: float | None = None
) -> Preprocessing:
    """How images are made ready for a method's network, which this builds.

    Images of another aspect than the input are letterboxed where the method masks padding, and
    stretched for all other methods. Where they are, and for a transformer, the sides are rounded to
    whole patches.

    Args:
        method: the method.
        height: of the input, in pixels.
        width: of the input, in pixels.
        tile_overlap: fraction of a tile that its neighbours share, where images are cut into tiles
            of that size; None where they are resized.

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
    beyond = _LETTERBOX_BEYOND if method.masks_padding else None
    cuts_patches = backbone.patch_size is None and not method.masks_padding
    multiple = 1 if cuts_patches else size_multiple(method)
    height = round_to_multiple(height, multiple)
    width = round_to_multiple(width, multiple)
    return Preprocessing(
        height,
        width,
        backbone.mean,
        backbone.std,
        letterbox_beyond=beyond if tile_overlap is None else None,
        multiple=multiple,
        tile_overlap=tile_overlap,
    )


def check_one_stride(method: Method) -> None:
    """Nothing, where a method's patches are as large as the cells that its input is made of.

    Args:
        method: that is to score by patches, with tiles or zones.

    Raises:
        OptionError: its layers have several strides, so that patches are smaller.
        WeightsUnavailable: the backbone's weights cannot be had.
    """
    if method.feature_extractor.patch_size:
        return
    finest, coarsest = 2 ** (min(method.layers) + 1), size_multiple(method)
    if finest < coarsest:
        raise OptionError(
            "tiles and regions need layers of one stride, and those of this method have "
            f"{finest} and {coarsest} pixels; use stride={finest}"
        )


def check_masked(method: Method, *, is_fine_tuned: bool) -> None:
    """Nothing, where parts of images can be left out.

    Args:
        method: that is to leave them out.
        is_fine_tuned: whether its backbone is fine-tuned first.

    Raises:
        OptionError: the method, or the fine-tuning, sees whole images.
    """
    if not method.masks_padding:
        raise OptionError(
            f"{type(method).__name__} cannot leave out what a mask does, since it masks no "
            "padding; use flawmap, or patchcore or a relative of it with letterbox=true"
        )
    if is_fine_tuned:
        raise OptionError(
            "a fine-tuning learns whole images, and a mask leaves out parts of them; use one of "
            "the two"
        )


def choose_size(method: Method, size: InputSize, images: Sequence[ImageInput]) -> ChosenSize | None:
    """The size of the input where it is not the one that was given, and why; else None.

    Args:
        method: whose network reads the input.
        size: as it was given: fixed, or to be chosen by the images.
        images: good images that are not held out.

    Raises:
        OptionError: timm has no such backbone, or the size cannot be.
        WeightsUnavailable: the backbone's weights cannot be had.

    Example:
        >>> from flawmap.methods import make_method
        >>> choose_size(make_method("patchcore", letterbox=True), (100, 160), []).reason
        '100 × 160, rounded to whole patches of tf_efficientnet_lite0'
    """
    if isinstance(size, TileSize):
        size = size.choose(images) or AutoSize()
    if isinstance(size, AutoSize):
        return size.choose(images, size_multiple(method))
    height, width = sides_of(size)
    overlap = size.overlap if isinstance(size, TileSize) else None
    preprocessing = make_preprocessing(method, height, width, overlap)
    actual = preprocessing.height, preprocessing.width
    if actual == (height, width) and overlap is None:
        return None
    reason = f"{height} × {width}, rounded to whole patches of {method.backbone}"
    if actual == (height, width):
        reason = "the images' own pixels"
    return ChosenSize(*actual, reason, overlap)


def sides_of(size: InputSize | ChosenSize) -> tuple[int, int]:
    """Height and width of an input, in pixels.

    Args:
        size: as it was given, or as the images chose it.

    Raises:
        NotFitted: the images are to choose it, and have not yet.
        OptionError: it is none of these, such as a text.

    >>> sides_of(224), sides_of((224, 320))
    ((224, 224), (224, 320))
    """
    given = size.pixels if isinstance(size, TileSize) else size
    if given is None or isinstance(given, AutoSize):
        raise NotFitted("the good images choose the size (auto); call fit first")
    sides = given[:2] if isinstance(given, Sequence) else (given, given)
    if len(sides) < 2 or not all(isinstance(side, Integral) for side in sides):
        raise OptionError(
            f"size={given!r}; use a side in pixels, as 224, a tuple (height, width), or "
            "AutoSize(320) for the aspect of the good images"
        )
    return sides[0], sides[1]
