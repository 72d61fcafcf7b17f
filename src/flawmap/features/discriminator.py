"""Networks that tell normal feature vectors from synthesised anomalies, and their loss.

The adaptor and discriminator of GLASS (Chen et al. 2024), written from the paper's formulas.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from flawmap.features.tensor_shapes import Scalar
from flawmap.support.tensors import Patches

_Vectors = Float[Tensor, "... channel"]
"""Vectors in any arrangement; the channels are the last axis."""

_PatchLabels = Float[Tensor, " _patch"]
"""One number per patch, as a label or a logit."""

_SMOOTHING = 1e-5
"""Keeps probabilities away from 0 and 1, so that the logarithm stays finite."""


class Adaptor(nn.Module):
    """Scales feature vectors and maps them by one trained linear layer.

    Args:
        channels: of the vectors.
        scale: factor on the vectors before the layer, > 0.
    """

    def __init__(self, channels: int, scale: float) -> None:
        super().__init__()
        self.scale: Tensor
        self.register_buffer("scale", torch.tensor(scale))
        self.linear = nn.Linear(channels, channels)
        nn.init.xavier_normal_(self.linear.weight)

    def forward(self, vectors: _Vectors) -> _Vectors:
        """Adapted vectors, of the same shape.

        Args:
            vectors: the channels are the last axis.
        """
        adapted: Tensor = self.linear(self.scale * vectors)
        return adapted


class Discriminator(nn.Module):
    """Adapted vectors to logits of being anomalous.

    Args:
        channels: of the vectors.
        hidden: width of the hidden layer.

    Example:
        >>> Discriminator(channels=6, hidden=4)(torch.randn(5, 6)).shape
        torch.Size([5])
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.inner = nn.Linear(channels, hidden)
        self.norm = nn.BatchNorm1d(hidden)
        self.last = nn.Linear(hidden, 1, bias=False)
        for layer in (self.inner, self.last):
            nn.init.xavier_normal_(layer.weight)

    def forward(self, vectors: Patches) -> _PatchLabels:
        """One logit per vector, (vector,).

        Args:
            vectors: (vector, channel).
        """
        hidden = functional.leaky_relu(self.norm(self.inner(vectors)), 0.2)
        logits: Tensor = self.last(hidden)
        return logits[:, 0]


def focal_loss(logits: _PatchLabels, labels: _PatchLabels, hard_fraction: float = 0.5) -> Scalar:
    """Focal loss of the vectors that are classified worst: the mean of −(1 − p)² log p.

    p is the probability of what is true (Lin et al. 2017, with γ = 2).

    Args:
        logits: of being anomalous, (vector,).
        labels: 1 for the anomalous, 0 for the others.
        hard_fraction: fraction of the vectors that count, 0…1.

    >>> focal_loss(torch.tensor([9.0, -9.0]), torch.tensor([1.0, 0.0])) < 1e-6
    tensor(True)
    """
    anomaly = torch.sigmoid(logits)
    error = (anomaly - labels).square().detach()
    probability = torch.where(labels > 0, anomaly, 1 - anomaly)
    smoothed = probability * (1 - 2 * _SMOOTHING) + _SMOOTHING
    losses = -(1 - smoothed).square() * smoothed.log()
    return losses[error >= error.quantile(1 - hard_fraction)].mean()
