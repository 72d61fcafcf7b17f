"""Shapes of what trained networks compute, beside those of `support.tensors`."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

Transforms = Float[Tensor, "batch 2 3"]
"""One affine transform per image, as torch's `affine_grid` takes it."""

Scalar = Float[Tensor, ""]
"""One number."""

Timesteps = Int[Tensor, " batch"]
"""How noisy each image is, from 0 to `diffusion.NUM_TIMESTEPS` − 1."""

PerImageVectors = Float[Tensor, "batch _length"]
"""One vector per image."""
