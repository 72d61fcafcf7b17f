"""Shapes of what metrics are computed of."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, Num

Counts = Num[np.ndarray, "... score"]
"""How many there are at each distinct score, from the lowest score up."""

MetricValues = Float[np.ndarray, "..."] | float
"""A metric, 0…1, or one per resample."""

ImageScores = Float[np.ndarray, " image"]
"""A score of each image, >= 0; the higher, the more anomalous."""

Labels = Int[np.ndarray, " image"]
"""1 for a defective image, 0 for a good one."""

ResampleWeights = Num[np.ndarray, "resample image"]
"""How often each image is in each resample."""
