"""Shapes as types, written once; the tests check them at run time with beartype.

The only file below the parts that knows torch. A shape of one axis starts with a space so that linters do not take it
for a forward reference; an axis that starts with _ may differ between the arguments of one call.
"""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor

Images = Float[Tensor, "batch 3 height width"]
"""RGB pictures as `prepare.py` makes them: resized, scaled and normalised."""

Features = Float[Tensor, "batch _channel _row _column"]
"""One layer's output."""

PatchGrid = Float[Tensor, "_picture row column channel"]
"""One vector per patch, picture by picture, in its place."""

Patches = Float[Tensor, "_patch channel"]
"""One vector per patch, picture by picture, row by row."""

Distances = Float[Tensor, "batch row column"]
"""One distance per patch, ≥ 0."""

Maps = Float[Tensor, "batch height width"]
"""One distance per pixel, ≥ 0."""

PerImage = Float[Tensor, " batch"]
"""One number per picture."""

Indices = Int[Tensor, " index"]
"""Row numbers."""


class Scores(NamedTuple):
    """What a scorer says about a batch: raw distances, the larger the less like the good parts."""

    image: PerImage
    pixel: Maps
