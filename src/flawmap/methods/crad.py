"""CRAD: reconstructs maps from a continuous memory of good ones (Lee et al. 2024).

What it cannot reconstruct is anomalous. Written from the paper's formulas. The last epoch counts,
where the published code keeps the one best on the test set.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import AdamW, Optimizer

from flawmap.errors import OptionError
from flawmap.features.feature_extractor import FeatureExtractor
from flawmap.features.feature_grid import CoordinateHead, FeatureGrid, InvertedResidual, refine
from flawmap.methods.head import Head
from flawmap.methods.trained_base import Losses, Shapes, TrainedMethod
from flawmap.support.tensors import Compared, Embedded, Features, Images, Maps, PerImage

_COORDINATE_JITTER = 0.05
"""Standard deviation of the jitter of local coordinates, in halves of the grid's side."""

_MAP_POOL = 21
"""Side in pixels of the mean filter that gives the map."""

_SCORE_POOL = 32
"""Side in pixels of the mean filter whose maximum is the image score."""


@dataclass(eq=False)
class CRAD(TrainedMethod["CRADNetwork"]):
    """CRAD: coordinate-based reconstruction for anomaly detection.

    Each position of the map, and the map as one, is turned into a coordinate in a grid of trained
    features; what is there is made into a map again. A coordinate between nodes gives what lies
    between, so normal maps come back and anomalous ones do not. Published with an EfficientNet-B4
    at layers 2 and 3, several products in one model. The default here is EfficientNet-Lite0 at the
    same layers, with fewer and narrower blocks: figures are not comparable.

    Args:
        nodes: of the local grid, along each side.
        global_nodes: of the grid of full maps, along each side.
        blocks: residual blocks that make the map.
        expansion: ratio of their inner channels to the others; 2 as published, 0.5 in the paper's
            small one.
        learning_rate: of the networks.
        grid_learning_rate: of the grids.
        lr_decay_epochs: after so many epochs both learning rates fall to a tenth, and again after
            as many.

    Raises:
        OptionError: a value that cannot be.

    Example:
        >>> [CRAD(lr_decay_epochs=10).lr_factor(epoch) for epoch in (1, 10, 11)]
        [1.0, 1.0, 0.1]
    """

    max_grad_norm: ClassVar[float | None] = 0.1

    epochs: int = 20
    batch_size: int = 16
    nodes: int = 8
    global_nodes: int = 4
    blocks: int = 4
    expansion: float = 0.5
    learning_rate: float = 1e-3
    grid_learning_rate: float = 0.1
    lr_decay_epochs: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        numbers = (self.nodes, self.global_nodes, self.blocks, self.lr_decay_epochs)
        if min(*numbers, self.expansion, self.learning_rate, self.grid_learning_rate) <= 0:
            raise OptionError(f"{self} cannot be trained with; use more than 0 of each")

    def networks(self, shapes: Shapes) -> CRADNetwork:
        """The grids, and the networks that look things up in them, untrained.

        Args:
            shapes: of the map of one image, (channel, row, column).
        """
        return CRADNetwork(
            shapes[0],
            nodes=self.nodes,
            global_nodes=self.global_nodes,
            blocks=self.blocks,
            expansion=self.expansion,
        )

    def optimizers(self, networks: CRADNetwork) -> list[Optimizer]:
        """One for the networks and one for the grids.

        Args:
            networks: what is trained.
        """
        grids = [networks.local_grid.nodes, networks.global_grid.nodes]
        grid_ids = {id(parameter) for parameter in grids}
        others = [parameter for parameter in networks.parameters() if id(parameter) not in grid_ids]
        return [AdamW(others, self.learning_rate), AdamW(grids, self.grid_learning_rate)]

    def lr_factor(self, epoch: int) -> float:
        """Falls to a tenth every `lr_decay_epochs`.

        Args:
            epoch: counted from 1.
        """
        return float(0.1 ** ((epoch - 1) // self.lr_decay_epochs))

    def loss(self, networks: CRADNetwork, batch: list[Tensor]) -> Losses:
        """Mean square difference of maps and their reconstructions.

        Args:
            networks: what is trained.
            batch: maps (batch, channel, row, column).
        """
        features = batch[0]
        return {"mse": functional.mse_loss(networks(features), features)}

    def encoder(self) -> _CRADEncoder:
        """Images to joined maps of all layers."""
        return _CRADEncoder(self.feature_extractor)

    def head(self) -> CRADHead:
        """The reconstructing network, and the anomaly map.

        Raises:
            NotFitted: nothing was trained yet.
        """
        return CRADHead(self.trained_networks())


class CRADNetwork(nn.Module):
    """Reconstructs maps from what the grids hold.

    Args:
        shape: of a map: channels, rows, columns.
        nodes: of the local grid, along each side.
        global_nodes: of the grid of full maps, along each side.
        blocks: residual blocks that make the map.
        expansion: ratio of their inner channels to the others.
    """

    def __init__(
        self, shape: Sequence[int], *, nodes: int, global_nodes: int, blocks: int, expansion: float
    ) -> None:
        super().__init__()
        channels = shape[0]
        width = 2 * channels
        inner = max(1, round(width * expansion))
        self.local_coordinates = CoordinateHead(channels)
        self.global_coordinates = CoordinateHead(channels)
        self.blocks = nn.Sequential(*(InvertedResidual(width, inner) for _ in range(blocks)))
        self.projection = nn.Conv2d(width, channels, 1, bias=False)
        self.apply(_init_weights)
        self.local_grid = FeatureGrid(channels, nodes)
        self.global_grid = FeatureGrid(math.prod(shape), global_nodes)

    def forward(self, features: Features) -> Features:
        """Reconstructed maps, refined by the input maps.

        Args:
            features: (batch, channel, row, column), of the shape that it was made for.
        """
        coordinates = self.local_coordinates(features)
        if self.training and torch.rand(()) < 0.5:
            coordinates = coordinates + _COORDINATE_JITTER * torch.randn_like(coordinates)
        mean = features.mean(dim=(2, 3), keepdim=True)
        full_maps = self.global_grid(self.global_coordinates(mean)).flatten(1)
        rows, columns = features.shape[-2:]
        global_maps = rearrange(full_maps, "b (c h w) -> b c h w", h=rows, w=columns)
        joined = torch.cat([self.local_grid(coordinates), global_maps], dim=1)
        return refine(self.projection(self.blocks(joined)), features)


class _CRADEncoder(nn.Module):
    """Images to the maps of all layers, joined at the finest one's size, corner on corner.

    Args:
        network: gives the maps.
    """

    def __init__(self, network: FeatureExtractor) -> None:
        super().__init__()
        self.feature_extractor = network

    def forward(self, images: Images) -> Embedded:
        """One map (batch, channel, row, column).

        Args:
            images: (batch, 3, height, width), preprocessed.
        """
        finest, *coarser = self.feature_extractor(images)
        resized = [_resize(layer_map, *finest.shape[-2:]) for layer_map in coarser]
        return Embedded((torch.cat([finest, *resized], dim=1).contiguous(),))


class CRADHead(Head):
    """Maps to scores: how far each position is from its reconstruction, averaged over squares.

    Args:
        network: maps to their reconstructions.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def compare(self, embedded: Embedded) -> Compared:
        """The distance of each position from its reconstruction.

        Args:
            embedded: one map (batch, channel, row, column).
        """
        features = embedded.maps[0]
        difference = self.network(features) - features
        return Compared((difference.square().sum(dim=1).sqrt(),))

    def anomaly_map(self, embedded: Embedded, compared: Compared, height: int, width: int) -> Maps:
        """The distances in the image's size, averaged over squares of 21 pixels.

        Args:
            embedded: unused.
            compared: the distance of each position.
            height: of the images, in pixels.
            width: of the images, in pixels.
        """
        del embedded
        distances = _resize(compared.distances[0][:, None], height, width)
        # Border pixels average what there is, so that the map keeps its size.
        pooled = functional.avg_pool2d(
            distances, _MAP_POOL, stride=1, padding=_MAP_POOL // 2, count_include_pad=False
        )
        return pooled[:, 0]

    def image_score(self, embedded: Embedded, compared: Compared, maps: Maps) -> PerImage:
        """The largest average of each map over a square of 32 pixels.

        Args:
            embedded: unused.
            compared: unused.
            maps: the averaged maps.
        """
        del embedded, compared
        height, width = maps.shape[-2:]
        window = (min(_SCORE_POOL, height), min(_SCORE_POOL, width))
        averages = functional.avg_pool2d(maps[:, None], window, stride=1)
        return averages.amax(dim=(1, 2, 3))


def _resize(maps: Tensor, rows: int, columns: int) -> Tensor:
    return functional.interpolate(maps, size=(rows, columns), mode="bilinear", align_corners=True)


def _init_weights(layer: nn.Module) -> None:
    """Weights of N(0, 0.01²), as published."""
    if isinstance(layer, nn.Conv2d):
        nn.init.normal_(layer.weight, std=0.01)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
