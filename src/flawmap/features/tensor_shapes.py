"""Shapes of what trained networks compute, beside those of `support.tensors`."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

ResizedImages = Float[Tensor, "batch 3 _height _width"]
"""The same images in another size."""

Transforms = Float[Tensor, "batch 2 3"]
"""One affine transform per image, as torch's `affine_grid` takes it."""

Noise = Float[Tensor, "... 3 height width"]
"""Gaussian noise for images; without the first axis, the same for all of them."""

Noises = Float[Tensor, "_step ... 3 height width"]
"""The noise of each step of a reconstruction."""

PerImageScalars = Float[Tensor, "_batch 1 1 1"]
"""One number per image, to multiply images with."""

Scalar = Float[Tensor, ""]
"""One number."""

PatchLabels = Float[Tensor, " _patch"]
"""One number per patch, as a label or a logit."""

Vectors = Float[Tensor, "... channel"]
"""Vectors in any arrangement; the channels are the last axis."""

Coordinates = Float[Tensor, "batch _row _column 2"]
"""Where in a grid each position of a map belongs: horizontal and vertical, −1…1."""

PositionEncoding = Float[Tensor, "_length _row _column"]
"""A vector for each position of a map, the same for all images."""

Timesteps = Int[Tensor, " batch"]
"""How noisy each image is, from 0 to `diffusion.NUM_TIMESTEPS` − 1."""

PerImageVectors = Float[Tensor, "batch _length"]
"""One vector per image."""
