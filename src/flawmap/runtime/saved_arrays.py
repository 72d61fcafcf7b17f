"""Which arrays a saved file must hold, and of which kind: what reads them relies on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from flawmap.errors import BundleError


class _Kind(NamedTuple):
    """What an array must be.

    Args:
        types: kinds of numbers, as `numpy.dtype.kind` has them.
        dimensions: of the array.
    """

    types: str
    dimensions: int


_LARGEST = float(np.finfo(np.float32).max)
"""What a graph computes is no larger."""

_CALIBRATION = ("calibration.scores", "calibration.peaks")
_BYTES = _Kind("u", 1)
_GRAPH = {"graph.xml": _BYTES, "graph.weights": _BYTES}
_GOLDEN = {"golden.scores": _Kind("f", 1), "golden.maps": _Kind("f", 3)}
_PIXELS = _Kind("u", 3)


def check_arrays(
    arrays: Mapping[str, np.ndarray],
    group_count: int,
    *,
    map_size: tuple[int, int] | None,
    zones: int = 0,
) -> None:
    """Refuse arrays that are no complete inspector.

    Args:
        arrays: those of a saved file, by name.
        group_count: number of groups that the manifest has, one for each good image or none.
        map_size: rows and columns of the graph's map; None where the file holds no graph.
        zones: number of zones, each with scores of its own; 0 for one score an image.

    Raises:
        BundleError: an array is missing, of another type or shape, or holds what is no score.
    """
    _check_kinds(arrays, dict.fromkeys(_CALIBRATION, _Kind("f", 2 if zones else 1)))
    scores, peaks = (arrays[name] for name in _CALIBRATION)
    if not len(scores) or len(scores) != len(peaks) or group_count not in (0, len(scores)):
        raise BundleError(
            f"{len(scores)} calibration scores, {len(peaks)} peaks and {group_count} groups"
        )
    if zones and not scores.shape[1] == peaks.shape[1] == zones:
        raise BundleError(f"{scores.shape[1]} columns of scores, and {zones} zones")
    if map_size is None:
        return
    _check_kinds(arrays, _GRAPH | _GOLDEN)
    _check_golden(arrays, map_size)


def _check_golden(arrays: Mapping[str, np.ndarray], map_size: tuple[int, int]) -> None:
    scores, maps = (arrays[name] for name in _GOLDEN)
    if not len(scores) or maps.shape != (len(scores), *map_size):
        raise BundleError(f"{len(scores)} golden scores and maps of shape {maps.shape}")
    for index in range(len(scores)):
        name = f"golden.pixels{index}"
        _check_kinds(arrays, {name: _PIXELS})
        height, width, channels = arrays[name].shape
        if channels != 3 or not height or not width:
            raise BundleError(f"{name} has the shape {arrays[name].shape}")


def _check_kinds(arrays: Mapping[str, np.ndarray], kinds: Mapping[str, _Kind]) -> None:
    for name, kind in kinds.items():
        if name not in arrays:
            raise BundleError(f"{name} is missing")
        array = arrays[name]
        if array.dtype.kind not in kind.types or array.ndim != kind.dimensions:
            raise BundleError(f"{name} is {array.dtype} of shape {array.shape}")
        if array.dtype.kind == "u" and array.dtype != np.uint8:
            raise BundleError(f"{name} is {array.dtype}, not uint8")
        if not ((array >= 0).all() and (array <= _LARGEST).all()):
            raise BundleError(f"{name} holds negative numbers, NaN or infinity")
