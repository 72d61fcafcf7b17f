"""CRAD: puts maps together from a continuous memory of good ones.

What it cannot put together is odd (Lee et al. 2024).

Written from the paper's formulas. The last epoch counts, where the published code keeps the one
best on the test set.
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
from flawmap.methods.trained_base import Losses, Preset, Shapes, TrainedMethod
from flawmap.support.tensors import Compared, Embedded, Features, Images, Maps, PerImage

COORDINATE_JITTER = 0.05
"""Standard deviation of the jitter of local coordinates, in halves of the grid's side."""

MAP_POOL, SCORE_POOL = 21, 32
"""Side in pixels of the mean filter for the map, and of the one for the image score."""


@dataclass(eq=False)
class CRAD(TrainedMethod["CRADNetwork"]):
    """CRAD: coordinate-based reconstruction for anomaly detection.

    Each position of the map, and the map as a whole, is turned into a place in a grid of learned
    features; what is found there is put together into a map again. A place between nodes gives what
    lies between, so normal maps come back and odd ones do not. Published with an EfficientNet-B4 at
    layers 2 and 3, several products in one model. The default here is EfficientNet-Lite0 at the
    same layers, with fewer and narrower blocks: figures are not comparable.

    Args:
        nodes: of the local grid, along each side.
        global_nodes: of the grid of whole maps, along each side.
        blocks: that put the map together.
        expansion: how much wider they are within; 2 as published, 0.5 in the paper's small one.
        rate: of the networks.
        grid_rate: of the grids.
        decay: after so many epochs both rates fall to a tenth, and again after as many.
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
            raise OptionError(f"{self} cannot learn; use more than 0 of each")

    def networks(self, shapes: Shapes) -> CRADNetwork:
        """Make the grids, and what looks things up in them."""
        return CRADNetwork(shapes[0], self)

    def optimizers(self, networks: CRADNetwork) -> list[Optimizer]:
        """Make one for the grids and one for the rest."""
        grids = [networks.local_grid.nodes, networks.global_grid.nodes]
        apart = set(map(id, grids))
        others = [parameter for parameter in networks.parameters() if id(parameter) not in apart]
        return [AdamW(others, self.learning_rate), AdamW(grids, self.grid_learning_rate)]

    def lr_factor(self, epoch: int) -> float:
        """Fall to a tenth every `decay` epochs."""
        return float(0.1 ** ((epoch - 1) // self.lr_decay_epochs))

    def loss(self, networks: CRADNetwork, batch: list[Tensor]) -> Losses:
        """Ask for the map that came."""
        features = batch[0]
        return {"mse": functional.mse_loss(networks(features), features)}

    def encoder(self) -> CRADEncoder:
        """Give the network as a module that gives joined maps."""
        return CRADEncoder(self.feature_extractor)

    def head(self) -> CRADHead:
        """Give memory and map as one module."""
        return CRADHead(self.trained_networks())


class CRADNetwork(nn.Module):
    """Puts maps together from what the grids hold.

    Args:
        shape: of the maps: channels, rows, columns.
        options: numbers of nodes and blocks.
    """

    def __init__(self, shape: Sequence[int], options: CRAD) -> None:
        super().__init__()
        channels = shape[0]
        self.local_locator, self.global_locator = CoordinateHead(channels), CoordinateHead(channels)
        width, inner = 2 * channels, max(1, round(2 * channels * options.expansion))
        self.blocks = nn.Sequential(
            *(InvertedResidual(width, inner) for _ in range(options.blocks))
        )
        self.last = nn.Conv2d(width, channels, 1, bias=False)
        self.apply(_begin_small)
        self.local_grid = FeatureGrid(channels, options.nodes)
        self.global_grid = FeatureGrid(math.prod(shape), options.global_nodes)

    def forward(self, features: Features) -> Features:
        """Put maps together, refined by those that came."""
        places = self.local_locator(features)
        if self.training and torch.rand(()) < 0.5:
            places = places + COORDINATE_JITTER * torch.randn_like(places)
        whole = self.global_grid(self.global_locator(features.mean(dim=(2, 3), keepdim=True)))
        (rows, columns), whole = features.shape[-2:], whole.flatten(1)
        of_wholes = rearrange(whole, "b (c h w) -> b c h w", h=rows, w=columns)
        made = self.last(self.blocks(torch.cat([self.local_grid(places), of_wholes], dim=1)))
        return refine(made, features)


class CRADEncoder(nn.Module):
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
        """The distances in the image's size, averaged over squares of `MAP_POOL` pixels.

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
            distances, MAP_POOL, stride=1, padding=MAP_POOL // 2, count_include_pad=False
        )
        return pooled[:, 0]

    def image_score(self, embedded: Embedded, compared: Compared, maps: Maps) -> PerImage:
        """The largest average of each map over a square of `SCORE_POOL` pixels.

        Args:
            embedded: unused.
            compared: unused.
            maps: the averaged maps.
        """
        del embedded, compared
        height, width = maps.shape[-2:]
        window = (min(SCORE_POOL, height), min(SCORE_POOL, width))
        averages = functional.avg_pool2d(maps[:, None], window, stride=1)
        return averages.amax(dim=(1, 2, 3))


def _resize(maps: Tensor, rows: int, columns: int) -> Tensor:
    return functional.interpolate(maps, size=(rows, columns), mode="bilinear", align_corners=True)


def _begin_small(layer: nn.Module) -> None:
    """Begin with weights of N(0, 0.01²), as published."""
    if isinstance(layer, nn.Conv2d):
        nn.init.normal_(layer.weight, std=0.01)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


PRESETS = {
    "cpu": Preset("about ten minutes on two cores"),
    "paper": Preset(
        "as published, for a GPU",
        options={
            "backbone": "tf_efficientnet_b4",
            "epochs": 50,
            "batch_size": 64,
            "blocks": 11,
            "expansion": 2.0,
            "lr_decay_epochs": 40,
        },
    ),
    "smoke": Preset(
        "seconds, to see that it runs", options={"epochs": 2, "batch_size": 4, "blocks": 1}
    ),
}
"""The paper's batches of 64 are 16 on each of four GPUs, with batch statistics of 16 each."""
