"""VQ-Flow: likelihood by a normalising flow with quantised conditions (Zhou et al. 2024).

Written from the paper's formulas. The last epoch counts, where the published code keeps the one
best on the test set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam, Optimizer

from flawmap.errors import OptionError
from flawmap.features.codebook import Codebook, sinusoidal_position_encoding
from flawmap.features.feature_extractor import FeatureExtractor
from flawmap.features.flow import CouplingBlock, CouplingStack, CrossScaleCoupling, FlowOutput
from flawmap.methods.head import Head
from flawmap.methods.trained_base import Losses, Preset, Shapes, TrainedMethod
from flawmap.support.tensors import Compared, Distances, Embedded, Features, Images, Maps, PerImage

TOP_PIXEL_FRACTION = 0.03
"""Share of the pixels whose mean is the image's score."""

TINY = 1e-8
"""Added to variances."""


@dataclass(eq=False)
class VQFlow(TrainedMethod["VQFlowNetwork"]):
    """VQ-Flow: normalising flows at three scales, conditioned on learned prototypes.

    The deepest layer's mean is quantised to one of a few prototypes of whole images; what it and
    the place leave of each position's features, to one of a few patterns. Both are conditions of
    flows that turn the finer layers' maps into Gaussians; a position is as odd as it is unlikely
    there. Scores are relative within an image, as published: its likeliest pixel is its measure of
    good. Made for several products in one model; here too for a single one.

    Args:
        layers: four, from fine to coarse; the deepest guides and the others are judged.
        prototypes: of whole images.
        patterns: of positions, for each layer.
        length: of prototypes.
        place: length of the code of a position's place; divisible by 4.
        steps: of the flow at each layer that is judged.
        rate: of all networks.
        warmup: epochs in which the rate rises from a tenth.
        log_sigma: whether the loss counts the scale that the prototype's Gaussian brings. In the
            published code it does not, and growing that scale lowers the loss for nothing.
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
                f"layers {self.layers} and steps {self.flow_steps}; VQ-Flow takes four layers "
                f"and three steps"
            )
        numbers = (
            self.prototypes,
            self.patterns,
            self.prototype_dim,
            self.position_dim,
            *self.flow_steps,
        )
        if (
            min(*numbers, self.learning_rate) <= 0
            or self.warmup_epochs < 0
            or self.position_dim % 4
        ):
            raise OptionError(
                f"{self} cannot learn; use more than 0 of each, and a place that is divisible by 4"
            )

    def networks(self, shapes: Shapes) -> VQFlowNetwork:
        """Make codebooks and flows."""
        return VQFlowNetwork([shape[0] for shape in shapes], self)

    def optimizers(self, networks: VQFlowNetwork) -> list[Optimizer]:
        """Make one for all."""
        return [Adam(networks.parameters(), self.learning_rate)]

    def lr_factor(self, epoch: int) -> float:
        """Rise from a tenth, and fall to a third after 70 and after 90 epochs, as published."""
        risen = (
            min(1.0, 0.1 + 0.9 * (epoch - 1) / self.warmup_epochs) if self.warmup_epochs else 1.0
        )
        return float(risen * 0.33 ** sum(epoch > milestone for milestone in (70, 90)))

    def loss(self, networks: VQFlowNetwork, batch: list[Tensor]) -> Losses:
        """Make the maps likely: ½ ‖z‖² − log |det|, and vectors stay near their codes."""
        flowed = networks(batch)
        squares = torch.stack([0.5 * one.square().sum(dim=(1, 2, 3)) for one in flowed.maps]).sum(
            dim=0
        )
        return {"unlikely": (squares - flowed.log_det).mean(), "commitment": flowed.commitment}

    def encoder(self) -> VQFlowEncoder:
        """Give the network, and the halving of what is judged, as one module."""
        return VQFlowEncoder(self.feature_extractor)

    def head(self) -> VQFlowHead:
        """Give flows and maps as one module."""
        return VQFlowHead(self.trained_networks())


class VQFlowNetwork(nn.Module):
    """Maps of four layers to Gaussians at the three finer ones.

    Args:
        channels: of the layers' maps.
        options: sizes.
    """

    def __init__(self, channels: Sequence[int], options: VQFlow) -> None:
        super().__init__()
        *finer, deepest = channels
        self.place, self.log_sigma = options.position_dim, options.log_sigma
        width = options.position_dim + options.prototype_dim
        self.summary = nn.Sequential(
            *(
                nn.Linear(deepest, options.prototype_dim),
                nn.BatchNorm1d(options.prototype_dim),
                nn.ReLU(),
            ),
            *(
                nn.Linear(options.prototype_dim, options.prototype_dim),
                nn.BatchNorm1d(options.prototype_dim),
                nn.ReLU(),
            ),
        )
        self.prototypes = Codebook(options.prototypes, options.prototype_dim)
        self.deep = _pointwise(deepest, width)
        self.looks = nn.ModuleList(
            nn.Sequential(_pointwise(one, width), _pointwise(width, width)) for one in channels
        )
        self.passes = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in finer)
        self.patterns = nn.ModuleList(Codebook(options.patterns, width) for _ in channels)
        condition = width + options.prototype_dim
        self.flows = nn.ModuleList(
            CouplingStack(CouplingBlock(one, condition) for _ in range(steps))
            for one, steps in zip(finer, options.flow_steps, strict=True)
        )
        self.gaussians = nn.ModuleList(_gaussian(options.prototype_dim, one) for one in finer)
        self.fusion = CrossScaleCoupling(finer, condition)

    def forward(self, maps: list[Tensor]) -> VQFlowOutput:
        """Flow with a batch."""
        *finer, deepest = maps
        prototype, commitment = self.prototypes(self.summary(deepest.mean(dim=(2, 3))))
        shared, outcome, log_det = self.deep(deepest), [], torch.zeros_like(deepest[:, 0, 0, 0])
        for level, came in enumerate(finer):
            passed = self.passes[level](
                functional.interpolate(shared, size=came.shape[-2:], mode="bilinear")
            )
            condition, committed = self._condition(level, came, prototype, passed)
            flowed = self._flow(level, came, condition, prototype)
            outcome.append(flowed.maps)
            log_det, commitment = log_det + flowed.log_det, commitment + committed
        condition, committed = self._condition(len(finer), deepest, prototype)
        fused = self.fusion(outcome, condition)
        return VQFlowOutput(fused.maps, log_det + fused.log_det, commitment + committed)

    def _flow(
        self, level: int, came: Features, condition: Features, prototype: Tensor
    ) -> FlowOutput:
        """Take all steps at one level, then measure from the prototype's mean by its deviation.

        (z − μ) / √(σ² + ε).
        """
        flowed = self.flows[level](came, condition)
        mean, deviation = self.gaussians[level](prototype)[:, :, None, None].chunk(2, dim=1)
        variance = deviation.square() + TINY
        measured = (flowed.maps - mean) / variance.sqrt()
        if not self.log_sigma:
            return FlowOutput(measured, flowed.log_det)
        places = came.shape[-2] * came.shape[-1]
        return FlowOutput(
            measured, flowed.log_det - 0.5 * places * variance.log().sum(dim=(1, 2, 3))
        )

    def _condition(
        self, level: int, maps: Features, prototype: Tensor, passed: Features | float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Condition of each position: the image's prototype, and the nearest pattern."""
        rows, columns = maps.shape[-2:]
        of_image = prototype[:, :, None, None].expand(-1, -1, rows, columns)
        where = sinusoidal_position_encoding(self.place, rows, columns, maps.device).expand(
            maps.shape[0], -1, -1, -1
        )
        base = torch.cat([where, of_image], dim=1)
        beyond = self.looks[level](maps) + passed - base
        pattern, commitment = self.patterns[level](rearrange(beyond, "b c h w -> (b h w) c"))
        local = base + rearrange(pattern, "(b h w) c -> b c h w", h=rows, w=columns)
        return torch.cat([local, of_image], dim=1), commitment


class VQFlowOutput(NamedTuple):
    """What the flows make of a batch."""

    maps: list[Features]
    log_det: PerImage
    commitment: Tensor


class VQFlowEncoder(nn.Module):
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
        count = max(1, int(TOP_PIXEL_FRACTION * height * width))
        return unlikely.flatten(1).topk(count, dim=1).values.mean(dim=1)


def _resize(maps: Distances, rows: int, columns: int) -> Maps:
    resized = functional.interpolate(
        maps[:, None], size=(rows, columns), mode="bilinear", align_corners=True
    )
    return resized[:, 0]


def _expm1(values: Tensor) -> Tensor:
    """Give eˣ − 1 to all digits where that is nearly 0, by tanh(x / 2) · (eˣ + 1).

    Not every graph knows expm1.
    """
    return torch.tanh(values / 2) * (values.exp() + 1)


def _pointwise(channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, width, 1), nn.BatchNorm2d(width), nn.ReLU())


def _gaussian(length: int, channels: int) -> nn.Linear:
    """Make what gives mean and deviation of a prototype; begins near 0 and 1 for all."""
    linear = nn.Linear(length, 2 * channels)
    nn.init.normal_(linear.weight, std=0.01)
    with torch.no_grad():
        linear.bias[:channels], linear.bias[channels:] = 0.0, 1.0
    return linear


PRESETS = {
    "cpu": Preset("about ten minutes on two cores"),
    "paper": Preset(
        "as published, for a GPU",
        size=384,
        options={
            "backbone": "convnextv2_base",
            "epochs": 60,
            "max_images_per_epoch": None,
            "prototypes": 32,
            "patterns": 512,
            "prototype_dim": 512,
            "position_dim": 64,
            "warmup_epochs": 10,
        },
    ),
    "smoke": Preset(
        "seconds, to see that it runs",
        options={
            "epochs": 2,
            "batch_size": 4,
            "learning_rate": 1e-3,
            "warmup_epochs": 0,
            "prototype_dim": 16,
            "position_dim": 4,
            "patterns": 8,
            "prototypes": 4,
            "flow_steps": (1, 1, 1),
        },
    ),
}
