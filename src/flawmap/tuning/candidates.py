"""The settings that a tuning tries."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from functools import reduce
from itertools import product
from typing import NamedTuple

from flawmap.data.auto_size import AutoSize, InputSize
from flawmap.data.tile_size import TileSize
from flawmap.methods.base import Method
from flawmap.support.options import with_option

IMAGE_SCORE = "image_score"
"""The option that changes neither what is fitted nor the distances of patches."""

_DEFAULT_SIDE = 224
_STRIDE = "stride"
_PLACE = "place_scaling"
_STRIDE_OF_REFERENCE = 16


class _Choice(NamedTuple):
    """One value of one thing that is varied."""

    label: str
    size: InputSize | None = None
    options: tuple[str, ...] = ()


_UNCHANGED = _Choice("")
_SIZES = [_Choice(f"{side} px", AutoSize(side)) for side in (224, 320, 448)]
_STRIDES = [
    _Choice("stride 16", options=(f"{_STRIDE}=null",)),
    _Choice("stride 8", options=(f"{_STRIDE}=8",)),
]
_PLACES = [
    _Choice("not by place", options=(f"{_PLACE}=false",)),
    _Choice("by place", options=(f"{_PLACE}=true",)),
]
_IMAGE_SCORES = [
    _Choice("maximum", options=(f"{IMAGE_SCORE}=Maximum",)),
    *(
        _Choice(
            f"top {100 * fraction:g}%",
            options=(f"{IMAGE_SCORE}=TopShare", f"{IMAGE_SCORE}.fraction={fraction}"),
        )
        for fraction in (0.005, 0.01, 0.02)
    ),
]


@dataclass(frozen=True)
class Candidate:
    """Settings to try.

    Args:
        label: what is different about them, in a few words.
        size: of the network's input, as `Inspector` takes it.
        options: changes of the method's options, as `with_option` takes them.

    Example:
        >>> from flawmap.methods import make_method
        >>> candidate = Candidate("320 px, sigma 2", 320, ("sigma=2.0",))
        >>> candidate.apply_to(make_method("patchcore")).sigma
        2.0
    """

    label: str
    size: InputSize | None = None
    options: tuple[str, ...] = ()

    def apply_to(self, method: Method) -> Method:
        """The method with the candidate's options, not fitted yet.

        Args:
            method: with the options that stay as they are.

        Raises:
            OptionError: the method has no such option, or it cannot have that value.
        """
        return reduce(with_option, self.options, method)

    @property
    def fit_options(self) -> tuple[str, ...]:
        """The options that need a fit of their own; not those of the image score."""
        return tuple(option for option in self.options if not option.startswith(IMAGE_SCORE))

    def relative_work(self, method: Method) -> float:
        """About how much work an image is, compared with one of 224 × 224 pixels at stride 16.

        Args:
            method: with the options that stay as they are.

        >>> from flawmap.methods import make_method
        >>> Candidate("448 px", 448).relative_work(make_method("patchcore"))
        4.0
        """
        stride = getattr(self.apply_to(method), _STRIDE, None) or _STRIDE_OF_REFERENCE
        return _area(self.size) / _DEFAULT_SIDE**2 * _STRIDE_OF_REFERENCE / stride


def candidates_for(
    method: Method, size: InputSize | None = None, fixed: Collection[str] = ()
) -> list[Candidate]:
    """What there is to try for a method: sizes, strides, scaling by place, image scores.

    Args:
        method: with the options to begin with.
        size: of the input to begin with.
        fixed: what stays as it is: names of options, or `size`.

    Returns:
        Settings that differ from each other: those that the method has already, then others from
        the cheapest to the dearest.

    Example:
        >>> from flawmap.methods import make_method
        >>> candidates = candidates_for(make_method("padim"), fixed=["size"])
        >>> [candidate.label for candidate in candidates]
        ['as set', 'stride 8']
    """
    sizes = [_Choice("", size), *([] if "size" in fixed else _SIZES)]
    strides = [_UNCHANGED, *(_STRIDES if _is_free(method, _STRIDE, fixed) else [])]
    places = [_UNCHANGED, *(_PLACES if _is_free(method, _PLACE, fixed) else [])]
    scores = [_UNCHANGED, *(_IMAGE_SCORES if _is_free(method, IMAGE_SCORE, fixed) else [])]
    combined = [_combine(*choices) for choices in product(sizes, strides, places, scores)]
    # The sort is stable: what the method has already stays in front of what is as much work.
    cheapest_first = sorted(combined[1:], key=lambda candidate: candidate.relative_work(method))
    distinct: dict[str, Candidate] = {}
    for candidate in (combined[0], *cheapest_first):
        distinct.setdefault(_identity(candidate, method), candidate)
    return list(distinct.values())


def by_fit(candidates: Sequence[Candidate]) -> list[list[Candidate]]:
    """The candidates in groups that share a fit: they differ in their image scores alone.

    Args:
        candidates: as `candidates_for` gives them, or others; they keep their order.

    Example:
        >>> maximum = Candidate("maximum", 224, ("image_score=Maximum",))
        >>> groups = by_fit([Candidate("as set", 224), Candidate("320 px", 320), maximum])
        >>> [[candidate.label for candidate in group] for group in groups]
        [['as set', 'maximum'], ['320 px']]
    """
    groups: dict[object, list[Candidate]] = {}
    for candidate in candidates:
        groups.setdefault((candidate.size, candidate.fit_options), []).append(candidate)
    return list(groups.values())


def _combine(size: _Choice, *others: _Choice) -> Candidate:
    labels = [choice.label for choice in (size, *others) if choice.label]
    options = tuple(option for choice in others for option in choice.options)
    return Candidate(", ".join(labels) or "as set", size.size, options)


def _is_free(method: Method, name: str, fixed: Collection[str]) -> bool:
    """Whether a method has an option, and it may be changed."""
    has_option = name in {field.name for field in fields(method)}
    return has_option and name not in {option.partition(".")[0] for option in fixed}


def _identity(candidate: Candidate, method: Method) -> str:
    size = (_DEFAULT_SIDE, _DEFAULT_SIDE) if candidate.size is None else candidate.size
    return json.dumps([repr(size), candidate.apply_to(method).options()], sort_keys=True)


def _area(size: InputSize | None) -> int:
    """Of the network's input, in pixels."""
    if isinstance(size, tuple):
        return size[0] * size[1]
    side = size.pixels if isinstance(size, AutoSize | TileSize) else size
    return (side or _DEFAULT_SIDE) ** 2
