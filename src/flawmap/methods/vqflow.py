"""VQ-Flow: likelihood by a normalising flow with quantised conditions (Zhou et al. 2024).

Written from the paper's formulas. The last epoch counts, where the published code keeps the one
best on the test set.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam, Optimizer

from flawmap.errors import OptionError
from flawmap.features.feature_extractor import FeatureExtractor
from flawmap.features.quantised_flow import VQFlowNetwork
from flawmap.methods.head import Head
from flawmap.methods.trained_base import Losses, Shapes, TrainedMethod
from flawmap.support.tensors import Compared, Distances, Embedded, Images, Maps, PerImage

_TOP_PIXEL_FRACTION = 0.03
"""Fraction of the pixels whose mean is the image's score."""

_LR_MILESTONES = (70, 90)
"""Epochs after which the learning rate falls to a third, as published."""


@dataclass(eq=False)
class VQFlow(TrainedMethod[VQFlowNetwork]):
    """VQ-Flow: normalising flows at three scales, conditioned on trained prototypes.

    The deepest layer's mean is quantised to one of a few prototypes of full images; what it and
    the position leave of each position's features, to one of a few patterns. Both are conditions of
    flows that turn the finer layers' maps into Gaussians; a position is as anomalous as it is
    unlikely there. Scores are relative within an image, as published: its likeliest pixel is its
    measure of good. Made for several products in one model; here too for a single one.

    Args:
        layers: four, from fine to coarse; the deepest guides and the others are scored.
        prototypes: number of prototypes of full images.
        patterns: number of patterns of positions, for each layer.
        prototype_dim: length of a prototype.
        position_dim: length of a position's encoding; divisible by 4.
        flow_steps: coupling blocks of the flow at each layer that is scored.
        learning_rate: of all networks, > 0.
        warmup_epochs: epochs in which the learning rate rises from a tenth.
        log_sigma: whether the loss counts the scale that the prototype's Gaussian brings. In the
            published code it does not, and growing that scale lowers the loss for nothing.

    Raises:
        OptionError: a value that cannot be.

    Example:
        >>> VQFlow(flow_steps=(1, 1, 1)).phase_ends
        (40,)
    """

    max_grad_norm: ClassVar[float | None] = 2.0
    drop_last: ClassVar[bool] = True

    layers: tuple[int, ...] = (1, 2, 3, 4)
    epochs: int = 40
    batch_size: int = 16
    max_images_per_epoch: int | None = 400
    prototypes: int = field(default=8, metadata={"symbol": "K"})
    patterns: int = 64
    prototype_dim: int = 64
    position_dim: int = 16
    flow_steps: tuple[int, ...] = (2, 5, 8)
    learning_rate: float = 1e-4
    warmup_epochs: int = 3
    log_sigma: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.layers)) != 4 or len(self.flow_steps) != 3:
            raise OptionError(
                f"layers {self.layers} and flow_steps {self.flow_steps}; VQ-Flow takes four layers "
                "and three flow_steps"
            )
        sizes = (self.prototypes, self.patterns, self.prototype_dim, self.position_dim)
        positive = (*sizes, *self.flow_steps, self.learning_rate)
        if min(positive) <= 0 or self.warmup_epochs < 0 or self.position_dim % 4:
            raise OptionError(
                f"{self} cannot be trained with; use more than 0 of each, 0 or more warmup_epochs, "
                "and a position_dim that is divisible by 4"
            )

    def networks(self, shapes: Shapes) -> VQFlowNetwork:
        """Codebooks and flows, untrained.

        Args:
            shapes: of the maps of one image, (channel, row, column) each.
        """
        return VQFlowNetwork(
            [shape[0] for shape in shapes],
            prototypes=self.prototypes,
            patterns=self.patterns,
            prototype_dim=self.prototype_dim,
            position_dim=self.position_dim,
            flow_steps=self.flow_steps,
            log_sigma=self.log_sigma,
        )

    def optimizers(self, networks: VQFlowNetwork) -> list[Optimizer]:
        """One for all networks.

        Args:
            networks: what is trained.
        """
        return [Adam(networks.parameters(), self.learning_rate)]

    def lr_factor(self, epoch: int) -> float:
        """Rises from a tenth, and falls to a third after 70 and after 90 epochs, as published.

        Args:
            epoch: counted from 1.
        """
        warmup = 1.0
        if self.warmup_epochs:
            warmup = min(1.0, 0.1 + 0.9 * (epoch - 1) / self.warmup_epochs)
        return float(warmup * 0.33 ** sum(epoch > milestone for milestone in _LR_MILESTONES))

    def loss(self, networks: VQFlowNetwork, batch: list[Tensor]) -> Losses:
        """Unlikeliness of the maps, ½ ‖z‖² − log |det|, and distance of vectors from their codes.

        Args:
            networks: what is trained.
            batch: maps of four layers.
        """
        flowed = networks(batch)
        squares = [0.5 * layer_map.square().sum(dim=(1, 2, 3)) for layer_map in flowed.maps]
        unlikely = (torch.stack(squares).sum(dim=0) - flowed.log_det).mean()
        return {"unlikely": unlikely, "commitment": flowed.commitment}

    def encoder(self) -> _VQFlowEncoder:
        """Images to the maps of four layers."""
        return _VQFlowEncoder(self.feature_extractor)

    def head(self) -> VQFlowHead:
        """The flows, and the maps made of their output.

        Raises:
            NotFitted: nothing was trained yet.
        """
        return VQFlowHead(self.trained_networks())


class _VQFlowEncoder(nn.Module):
    """Images to the maps of four layers; all but the deepest are averaged 3×3 and halved.

    Args:
        network: gives the maps.
    """

    def __init__(self, network: FeatureExtractor) -> None:
        super().__init__()
        self.feature_extractor = network

    def forward(self, images: Images) -> Embedded:
        """One map per layer, (batch, channel, row, column).

        Args:
            images: (batch, 3, height, width), preprocessed.
        """
        *finer, deepest = self.feature_extractor(images)
        halved = [functional.avg_pool2d(finer_map, 3, stride=2, padding=1) for finer_map in finer]
        return Embedded(tuple(layer_map.contiguous() for layer_map in [*halved, deepest]))


class VQFlowHead(Head):
    """Maps to scores, each relative to the likeliest pixel of its image.

    A distance is −log p = ½ mean_c z², at each of three levels. An image's score is the mean of the
    top 3 % of 1 − exp(A − max A), A the sum of the levels' log p. Its map is max B − B, B the sum
    of the levels' p, each over its largest.

    Args:
        flow: maps to `VQFlowOutput`.
    """

    def __init__(self, flow: nn.Module) -> None:
        super().__init__()
        self.flow = flow

    def compare(self, embedded: Embedded) -> Compared:
        """How unlikely each position is, −log p at each level.

        Args:
            embedded: one map per layer, (batch, channel, row, column).
        """
        outcome = self.flow(list(embedded.maps)).maps
        return Compared(tuple(0.5 * level_map.square().mean(dim=1) for level_map in outcome))

    def anomaly_map(self, embedded: Embedded, compared: Compared, height: int, width: int) -> Maps:
        """How much less likely each pixel is than the image's likeliest.

        Args:
            embedded: unused.
            compared: −log p at each level.
            height: of the images, in pixels.
            width: of the images, in pixels.
        """
        del embedded
        # p relative to the level's largest, less 1.
        relative = [
            _expm1(distances.amin(dim=(1, 2), keepdim=True) - distances)
            for distances in compared.distances
        ]
        resized = [_resize(level_map, height, width) for level_map in relative]
        likelihood = torch.stack(resized).sum(dim=0)
        return likelihood.amax(dim=(1, 2), keepdim=True) - likelihood

    def image_score(self, embedded: Embedded, compared: Compared, maps: Maps) -> PerImage:
        """The mean of the least likely pixels of each image, by the sum of all levels' log p.

        Args:
            embedded: unused.
            compared: −log p at each level.
            maps: only their size counts.
        """
        del embedded
        height, width = maps.shape[-2:]
        resized = [_resize(-distances, height, width) for distances in compared.distances]
        log_likelihood = torch.stack(resized).sum(dim=0)
        largest = log_likelihood.amax(dim=(1, 2), keepdim=True)
        unlikely = -_expm1(log_likelihood - largest)
        count = max(1, int(_TOP_PIXEL_FRACTION * height * width))
        return unlikely.flatten(1).topk(count, dim=1).values.mean(dim=1)


def _resize(maps: Distances, rows: int, columns: int) -> Maps:
    resized = functional.interpolate(
        maps[:, None], size=(rows, columns), mode="bilinear", align_corners=True
    )
    return resized[:, 0]


def _expm1(values: Tensor) -> Tensor:
    """The value of eˣ − 1 to all digits where that is nearly 0, by tanh(x / 2) · (eˣ + 1).

    Not every graph knows expm1.
    """
    return torch.tanh(values / 2) * (values.exp() + 1)
