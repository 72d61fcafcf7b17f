"""DDAD: noise is taken from an image such that defects are mended.

What was mended is odd (Mousakhan et al. 2024).

Written from the paper's formulas. Two things of the published code are otherwise: what weighs
pixels against features is measured once on good images, where it was taken from the batch that is
judged; and the noise is always the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from numpy.random import default_rng
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam, AdamW, Optimizer

from flawmap.engine.run import best_device
from flawmap.errors import OptionError
from flawmap.features.anomaly_map import AnomalyMap
from flawmap.features.context import average_pool_3x3
from flawmap.features.diffusion import (
    NUM_STEPS,
    NUM_TIMESTEPS,
    START,
    add_noise,
    alpha_bar,
    reconstruct,
)
from flawmap.features.feature_extractor import FeatureExtractor
from flawmap.features.unet import UNet
from flawmap.methods.head import Head
from flawmap.methods.trained_base import Losses, Preset, Shapes, TrainedMethod
from flawmap.support.progress import track
from flawmap.support.tensors import Compared, Embedded, Features, Images, Maps, PerImage

BALANCE_IMAGES = 64
"""Good images by which pixels are weighed against features, at most."""


@dataclass(eq=False)
class DDAD(TrainedMethod["DDADReconstructor"]):
    """DDAD: denoising diffusion, steered by the image itself.

    A UNet learns to tell noise from good images. An image to judge is made noisy and clean again,
    steered towards itself, so that all returns but what no good image has. Image and mended image
    are compared by pixels, and by the features of a backbone that was adapted to see no difference
    on good images. Judging takes ten passes of the UNet. Published at 256 px with a
    WideResNet-101-2, 1000 to 3000 epochs, and with settings for each class that were chosen on its
    test images; here they are the same for all.

    Args:
        layers: the first is adapted too, and not compared.
        epochs: of the UNet.
        adapt: epochs of the backbone, after them.
        reduce: the sides of the images are divided by this for the network's work.
        base: channels of the UNet at its finest scale.
        multipliers: of them at each scale.
        blocks: of the UNet at each scale.
        attend: its first scale with attention, counted from 0.
        heads: of the attention.
        dropout: in the UNet's training.
        steering: how strongly mending is steered towards the image, w.
        adapt_steering: the same while the backbone is adapted, towards another good image.
        pixels: what the difference by pixels counts beside that by features, v.
        keep: weight of what holds the adapted backbone to the original, λ.
        levels: of noise that the UNet learns to tell, from the least; mending asks for the first
            250 alone.
        rate: of the UNet.
        adapt_rate: of the backbone.
        sigma: of the Gaussian over the map, in pixels.
    """

    resume_keys: ClassVar[tuple[str, ...]] = ("epochs",)
    drop_last: ClassVar[bool] = True

    layers: tuple[int, ...] = (1, 2, 3)
    epochs: int = 40
    batch_size: int = 4
    max_images_per_epoch: int | None = 400
    adapt_epochs: int = 1
    downscale: int = 2
    base_channels: int = 16
    channel_multipliers: tuple[int, ...] = (1, 2, 4, 4)
    blocks_per_scale: int = 1
    attention_from_scale: int = 3
    heads: int = 4
    dropout: float = 0.0
    guidance: float = field(default=3.0, metadata={"symbol": "w"})
    adapt_guidance: float = field(default=3.0, metadata={"symbol": "w_DA"})
    pixel_weight: float = field(default=1.0, metadata={"symbol": "v"})
    distillation_weight: float = field(default=0.1, metadata={"symbol": "λ"})
    timesteps: int = START
    learning_rate: float = 1e-3
    adapt_learning_rate: float = 1e-4
    sigma: float = field(default=4.0, metadata={"symbol": "σ"})

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = (
            self.downscale,
            self.base_channels,
            self.blocks_per_scale,
            self.heads,
            *self.channel_multipliers,
        )
        if (
            min(*sizes, self.learning_rate, self.adapt_learning_rate) <= 0
            or min(
                self.adapt_epochs,
                self.attention_from_scale,
                self.pixel_weight,
                self.distillation_weight,
            )
            < 0
        ):
            raise OptionError(
                f"{self} cannot learn; use more than 0 of each, or 0 for adapt, attend, pixels, "
                f"keep"
            )
        if self.base_channels % self.heads or len(self.layers) < 2:
            raise OptionError(
                f"{self.base_channels} channels for {self.heads} heads, layers {self.layers}; "
                f"use a base that is divisible by "
                "heads, and two layers or more, of which the first is not compared"
            )
        if not START <= self.timesteps <= NUM_TIMESTEPS:
            raise OptionError(
                f"{self.timesteps} levels of noise; use {START}, which mending begins with, to "
                f"{NUM_TIMESTEPS}"
            )
        if self.precision != "f32":
            raise OptionError(
                f"DDAD's networks are trained and compute in f32, not in {self.precision}"
            )

    @property
    def phase_ends(self) -> tuple[int, ...]:
        """The UNet's last epoch, and the backbone's."""
        return (self.epochs, self.epochs + self.adapt_epochs)

    def training_inputs(self, images: Images) -> list[Tensor]:
        """Hold the images."""
        return [images]

    def networks(self, shapes: Shapes) -> DDADReconstructor:
        """Make the UNet, and a copy of the backbone to be adapted."""
        return DDADReconstructor(shapes[0], self.feature_extractor, self)

    def optimizers(self, networks: DDADReconstructor) -> list[Optimizer]:
        """Make one for each network; the UNet's decay is part of its gradient, as published."""
        adapted = networks.adapted.requires_grad_(True)
        return [
            Adam(networks.unet.parameters(), self.learning_rate, weight_decay=0.05),
            AdamW(adapted.parameters(), self.adapt_learning_rate),
        ]

    def training_batches(
        self, held: list[Tensor], order: Sequence[int], epoch: int
    ) -> Iterator[list[Tensor]]:
        """Give images, and once the UNet is trained, another good one beside each."""
        images, rng = held[0], default_rng([self.seed, epoch, len(held[0])])
        for places in self._chunks(order):
            if epoch <= self.epochs:
                yield [images[places]]
            else:
                others = rng.integers(1, len(images), len(places)).tolist()
                partners = [
                    (place + other) % len(images)
                    for place, other in zip(places, others, strict=True)
                ]
                yield [images[places], images[partners]]

    def loss(self, networks: DDADReconstructor, batch: list[Tensor]) -> Losses:
        """Ask for the noise in images.

        Or, of the backbone, to see no difference between mended and good ones.
        """
        images = networks.to_working_size(batch[0])
        if len(batch) == 1:
            noise = torch.randn_like(images)
            levels = torch.randint(self.timesteps, (len(images),), device=images.device)
            noisy = add_noise(images, noise, alpha_bar(levels))
            wrong = (networks.unet(noisy, levels) - noise).square().sum(dim=(1, 2, 3)).mean()
            return {"noise": wrong, "features": torch.zeros_like(wrong)}
        target = networks.to_working_size(batch[1])
        noises = torch.randn(NUM_STEPS + 1, *images.shape, device=images.device)
        with torch.no_grad():
            mended = reconstruct(networks.unet.eval(), images, target, noises, self.adapt_guidance)
            was_mended, was_target = (
                self._original(networks, mended),
                self._original(networks, target),
            )
        is_mended, is_target = networks.adapted_features(mended), networks.adapted_features(target)
        apart = _unlike(is_mended, is_target)
        apart = apart + self.distillation_weight * (
            _unlike(is_target, was_target) + _unlike(is_mended, was_mended)
        )
        return {"noise": torch.zeros_like(apart), "features": apart}

    def on_train_end(self, networks: DDADReconstructor, held: list[Tensor]) -> None:
        """Measure how large differences by pixels and by features get on mended good images."""
        by_pixels, by_features = [], []
        some = held[0][:BALANCE_IMAGES].split(self.batch_size)
        for images in track(some, "weighing pixels against features", len(some)):
            with torch.no_grad():
                apart = networks.distance_maps(images.to(best_device()))
            by_pixels.append(apart[0].max())
            by_features.append(apart[1].max())
        networks.balance.copy_(
            torch.stack(by_features).max() / torch.stack(by_pixels).max().clamp_min(1e-9)
        )

    def encoder(self) -> DDADEncoder:
        """Give images as they are; all of the work is the judge's."""
        return DDADEncoder()

    def head(self) -> DDADHead:
        """Give mending, comparison and map as one module."""
        return DDADHead(self.trained_networks(), self.pixel_weight, AnomalyMap(self.sigma))

    def _original(self, networks: DDADReconstructor, images: Tensor) -> list[Features]:
        maps: list[Features] = self.feature_extractor(networks.to_backbone_input(images))
        return maps


class DDADReconstructor(nn.Module):
    """Mends images and compares them with what they were.

    Args:
        shape: of the images: channels, rows, columns.
        backbone: to be adapted.
        options: sizes, and how strongly to steer.
    """

    def __init__(self, shape: Sequence[int], backbone: FeatureExtractor, options: DDAD) -> None:
        super().__init__()
        self.unet = UNet(
            options.base_channels,
            options.channel_multipliers,
            options.blocks_per_scale,
            options.attention_from_scale,
            options.heads,
            options.dropout,
        )
        self.adapted, self.steering = deepcopy(backbone), options.guidance
        self.size = [max(1, side // options.downscale) for side in shape[1:]]
        self.mean: Tensor
        self.std: Tensor
        self.noises: Tensor
        self.balance: Tensor
        for name, values in {"mean": backbone.mean, "std": backbone.std}.items():
            self.register_buffer(name, torch.tensor(values).reshape(3, 1, 1))
        # The same for every image, so that an image's score depends on nothing but itself.
        self.register_buffer("noises", torch.randn(NUM_STEPS + 1, 3, *self.size))
        self.register_buffer("balance", torch.ones(()))

    def to_working_size(self, images: Images) -> Tensor:
        """Bring prepared images to the size of the work, −1…1."""
        resized: Tensor = functional.interpolate(
            2 * (images * self.std + self.mean) - 1, size=self.size, mode="area"
        )
        return resized

    def to_backbone_input(self, images: Tensor) -> Tensor:
        """Bring images of −1…1 to what backbones read."""
        return ((images + 1) / 2 - self.mean) / self.std

    def adapted_features(self, images: Tensor) -> list[Features]:
        """Say what the adapted backbone sees."""
        maps: list[Features] = self.adapted(self.to_backbone_input(images))
        return maps

    def distance_maps(self, images: Images) -> list[Tensor]:
        """Distances of images to their reconstructions, by pixels and by features."""
        resized = self.to_working_size(images)
        mended = reconstruct(self.unet, resized, resized, self.noises[:, None], self.steering)
        by_pixels = (resized - mended).abs().mean(dim=1)
        layers = zip(
            self.adapted_features(resized)[1:], self.adapted_features(mended)[1:], strict=True
        )
        apart = [
            1 - functional.cosine_similarity(average_pool_3x3(one), average_pool_3x3(other), dim=1)
            for one, other in layers
        ]
        size = by_pixels.shape[-2:]
        wide = [
            functional.interpolate(one[:, None], size, mode="bilinear", align_corners=True)
            for one in apart
        ]
        return [by_pixels, torch.stack(wide).sum(dim=0)[:, 0].clamp_min(0)]


class DDADEncoder(nn.Module):
    """Images as they are; all of the work is the head's."""

    def forward(self, images: Images) -> Embedded:
        """The images.

        Args:
            images: (batch, 3, height, width), preprocessed.
        """
        return Embedded((images,))


class DDADHead(Head):
    """Images to scores: D_f + v · (max D_f / max D_p) · D_p, smoothed; maxima are of good images.

    Args:
        reconstructor: images to distances from their reconstructions.
        pixel_weight: v, what distances by pixels count beside those by features.
        pixel_map: distances per position to distances per pixel of the image.
    """

    def __init__(
        self, reconstructor: DDADReconstructor, pixel_weight: float, pixel_map: AnomalyMap
    ) -> None:
        super().__init__()
        self.reconstructor = reconstructor
        self.pixel_weight = pixel_weight
        self.pixel_map = pixel_map

    def compare(self, embedded: Embedded) -> Compared:
        """The distance of each position from its reconstruction, by pixels and by features.

        Args:
            embedded: the images.
        """
        by_pixels, by_features = self.reconstructor.distance_maps(embedded.maps[0])
        scale = self.pixel_weight * self.reconstructor.balance
        return Compared((by_features + scale * by_pixels,))

    def anomaly_map(self, embedded: Embedded, compared: Compared, height: int, width: int) -> Maps:
        """The distances in the image's size, smoothed.

        Args:
            embedded: unused.
            compared: the distance of each position.
            height: of the images, in pixels.
            width: of the images, in pixels.
        """
        del embedded
        maps: Maps = self.pixel_map(compared.distances[0], height, width)
        return maps

    def image_score(self, embedded: Embedded, compared: Compared, maps: Maps) -> PerImage:
        """The largest value of each map.

        Args:
            embedded: unused.
            compared: unused.
            maps: the smoothed maps.
        """
        del embedded, compared
        return maps.amax(dim=(1, 2))


def _unlike(one: list[Features], other: list[Features]) -> Tensor:
    """Sum 1 − cos over layers, each layer of an image as one vector, in the mean over images."""
    alike = [
        functional.cosine_similarity(a.flatten(1), b.flatten(1))
        for a, b in zip(one, other, strict=True)
    ]
    return (1 - torch.stack(alike)).sum(dim=0).mean()


PRESETS = {
    "cpu": Preset("about ten minutes on two cores"),
    "paper": Preset(
        "as published with one setting for all classes, for a GPU and hours",
        size=256,
        options={
            "backbone": "wide_resnet101_2.tv_in1k",
            "epochs": 2000,
            "max_images_per_epoch": None,
            "adapt_epochs": 4,
            "batch_size": 32,
            "downscale": 1,
            "base_channels": 64,
            "channel_multipliers": (1, 1, 2, 2, 4, 4),
            "blocks_per_scale": 2,
            "timesteps": NUM_TIMESTEPS,
            "learning_rate": 3e-4,
        },
    ),
    "smoke": Preset(
        "seconds, to see that it runs",
        options={
            "epochs": 2,
            "batch_size": 4,
            "base_channels": 8,
            "heads": 2,
            "channel_multipliers": (1, 2),
            "attention_from_scale": 1,
            "adapt_epochs": 0,
        },
    ),
}
