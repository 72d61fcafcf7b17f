"""DDAD: noise is taken from an image such that defects disappear (Mousakhan et al. 2024).

What differs from its reconstruction is anomalous. Written from the paper's formulas. Two things of
the published code are otherwise: the weight of pixels against features is measured once on good
images, where it was taken from the batch that is scored; and the noise is always the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from numpy.random import default_rng
from torch import Tensor
from torch.optim import Adam, AdamW, Optimizer

from flawmap.engine.run import best_device
from flawmap.errors import OptionError
from flawmap.features.anomaly_map import AnomalyMap
from flawmap.features.diffusion import (
    NUM_STEPS,
    NUM_TIMESTEPS,
    START_TIMESTEP,
    add_noise,
    alpha_bar,
    reconstruct,
)
from flawmap.features.reconstructor import DDADReconstructor, layer_distance
from flawmap.features.unet import UNet
from flawmap.methods.ddad_head import DDADEncoder, DDADHead
from flawmap.methods.trained_base import Losses, Shapes, TrainedMethod
from flawmap.support.options import check_range
from flawmap.support.progress import track
from flawmap.support.tensors import Features, Images

_BALANCE_IMAGES = 64
"""At most so many good images measure the ratio of feature to pixel distances."""


@dataclass(eq=False)
class DDAD(TrainedMethod[DDADReconstructor]):
    """DDAD: denoising diffusion, guided by the image itself.

    A UNet is trained to tell noise from good images. An image to inspect is made noisy and clean
    again, guided towards itself, so that all returns but what no good image has. Image and
    reconstruction are compared by pixels, and by the features of a backbone that was adapted to see
    no difference on good images. Scoring takes ten passes of the UNet. Published at 256 px with a
    WideResNet-101-2, 1000 to 3000 epochs, and with settings for each class that were chosen on its
    test images; here they are the same for all.

    Args:
        layers: two or more; the first is adapted too, and not compared.
        epochs: of the UNet.
        adapt_epochs: epochs of the backbone, after them, >= 0.
        downscale: the sides of the images are divided by this for the UNet.
        base_channels: channels of the UNet at its finest scale; divisible by the heads.
        channel_multipliers: of them at each scale.
        blocks_per_scale: residual blocks of the UNet at each scale.
        attention_from_scale: its first scale with attention, counted from 0.
        heads: of the attention.
        dropout: in the UNet's training, 0…1.
        guidance: how strongly a reconstruction is guided towards the image, w.
        adapt_guidance: the same while the backbone is adapted, towards another good image.
        pixel_weight: weight of the distance by pixels beside that by features, v, >= 0.
        distillation_weight: weight of what holds the adapted backbone to the original, λ, >= 0.
        timesteps: of noise that the UNet is trained with, from the least; reconstructing asks for
            the first 250 alone.
        learning_rate: of the UNet.
        adapt_learning_rate: of the backbone.
        sigma: of the Gaussian over the map, in pixels.

    Raises:
        OptionError: a value that cannot be.

    Example:
        >>> DDAD(epochs=30, adapt_epochs=2).phase_ends
        (30, 32)
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
    timesteps: int = START_TIMESTEP
    learning_rate: float = 1e-3
    adapt_learning_rate: float = 1e-4
    sigma: float = field(default=4.0, metadata={"symbol": "σ"})

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "sigma", 0)
        self._check_ranges()
        if self.base_channels % self.heads or len(self.layers) < 2:
            raise OptionError(
                f"base_channels={self.base_channels} for heads={self.heads}, layers {self.layers}; "
                "use base_channels divisible by heads, and two layers or more, of which the first "
                "is not compared"
            )
        if not START_TIMESTEP <= self.timesteps <= NUM_TIMESTEPS:
            raise OptionError(
                f"timesteps={self.timesteps}; use {START_TIMESTEP}, which reconstructing begins "
                f"with, to {NUM_TIMESTEPS}"
            )
        if self.precision != "f32":
            raise OptionError(
                f"DDAD's networks are trained and compute in f32, not in {self.precision}"
            )

    def _check_ranges(self) -> None:
        sizes = (self.downscale, self.base_channels, self.blocks_per_scale, self.heads)
        rates = (self.learning_rate, self.adapt_learning_rate)
        weights = (self.pixel_weight, self.distillation_weight)
        positive = (*sizes, *rates, *self.channel_multipliers)
        if min(positive) <= 0 or min(*weights, self.adapt_epochs, self.attention_from_scale) < 0:
            raise OptionError(
                f"{self} cannot be trained with; use more than 0 of each, or 0 for adapt_epochs, "
                "attention_from_scale, pixel_weight, distillation_weight"
            )

    @property
    def phase_ends(self) -> tuple[int, ...]:
        """The UNet's last epoch, and the backbone's."""
        return (self.epochs, self.epochs + self.adapt_epochs)

    def training_inputs(self, images: Images) -> list[Tensor]:
        """The images.

        Args:
            images: (batch, 3, height, width), preprocessed.
        """
        return [images]

    def networks(self, shapes: Shapes) -> DDADReconstructor:
        """The UNet, and a copy of the backbone to be adapted.

        Args:
            shapes: of an image.
        """
        unet = UNet(
            self.base_channels,
            self.channel_multipliers,
            self.blocks_per_scale,
            self.attention_from_scale,
            self.heads,
            self.dropout,
        )
        size = [max(1, side // self.downscale) for side in shapes[0][1:]]
        return DDADReconstructor(unet, self.feature_extractor, size, self.guidance)

    def optimizers(self, networks: DDADReconstructor) -> list[Optimizer]:
        """One for each network; the UNet's weight decay is part of its gradient, as published.

        Args:
            networks: what is trained.
        """
        adapted = networks.adapted.requires_grad_(True)
        return [
            Adam(networks.unet.parameters(), self.learning_rate, weight_decay=0.05),
            AdamW(adapted.parameters(), self.adapt_learning_rate),
        ]

    def training_batches(
        self, cached: list[Tensor], order: Sequence[int], epoch: int
    ) -> Iterator[list[Tensor]]:
        """Images, and once the UNet is trained, another good one beside each.

        Args:
            cached: all images.
            order: indices of the images that are drawn for this epoch.
            epoch: counted from 1.
        """
        images = cached[0]
        rng = default_rng([self.seed, epoch, len(images)])
        for indices in self.split_batches(order):
            if epoch <= self.epochs:
                yield [images[indices]]
                continue
            distances = rng.integers(1, len(images), len(indices)).tolist()
            pairs = zip(indices, distances, strict=True)
            partners = [(index + distance) % len(images) for index, distance in pairs]
            yield [images[indices], images[partners]]

    def loss(self, networks: DDADReconstructor, batch: list[Tensor]) -> Losses:
        """The error of the predicted noise; in the second phase, the difference of the features.

        Args:
            networks: what is trained.
            batch: images, and in the second phase another good image beside each.
        """
        images = networks.to_working_size(batch[0])
        if len(batch) == 1:
            noise_loss = self._noise_loss(networks, images)
            return {"noise": noise_loss, "features": torch.zeros_like(noise_loss)}
        feature_loss = self._feature_loss(networks, images, networks.to_working_size(batch[1]))
        return {"noise": torch.zeros_like(feature_loss), "features": feature_loss}

    def _noise_loss(self, networks: DDADReconstructor, images: Images) -> Tensor:
        noise = torch.randn_like(images)
        timesteps = torch.randint(self.timesteps, (len(images),), device=images.device)
        predicted = networks.unet(add_noise(images, noise, alpha_bar(timesteps)), timesteps)
        squares: Tensor = (predicted - noise).square()
        return squares.sum(dim=(1, 2, 3)).mean()

    def _feature_loss(self, networks: DDADReconstructor, images: Images, targets: Images) -> Tensor:
        """How unlike adapted features of reconstruction and target are, and how far they moved."""
        noises = torch.randn(NUM_STEPS + 1, *images.shape, device=images.device)
        with torch.no_grad():
            reconstructed = reconstruct(
                networks.unet.eval(), images, targets, noises, self.adapt_guidance
            )
            original_reconstructed = self._original_features(networks, reconstructed)
            original_targets = self._original_features(networks, targets)
        adapted_reconstructed = networks.adapted_features(reconstructed)
        adapted_targets = networks.adapted_features(targets)
        difference = layer_distance(adapted_reconstructed, adapted_targets)
        moved_targets = layer_distance(adapted_targets, original_targets)
        moved_reconstructed = layer_distance(adapted_reconstructed, original_reconstructed)
        return difference + self.distillation_weight * (moved_targets + moved_reconstructed)

    def _original_features(self, networks: DDADReconstructor, images: Images) -> list[Features]:
        maps: list[Features] = self.feature_extractor(networks.to_backbone_input(images))
        return maps

    def on_train_end(self, networks: DDADReconstructor, cached: list[Tensor]) -> None:
        """Measure how large distances by pixels and by features get on good images.

        Args:
            networks: the trained networks, in evaluation mode.
            cached: all images.
        """
        by_pixels = []
        by_features = []
        batches = cached[0][:_BALANCE_IMAGES].split(self.batch_size)
        for images in track(batches, "weighing pixels against features", len(batches)):
            with torch.no_grad():
                distances = networks.distance_maps(images.to(best_device()))
            by_pixels.append(distances[0].max())
            by_features.append(distances[1].max())
        largest_by_pixels = torch.stack(by_pixels).max().clamp_min(1e-9)
        networks.balance.copy_(torch.stack(by_features).max() / largest_by_pixels)

    def encoder(self) -> DDADEncoder:
        """Images as they are; all of the work is the head's."""
        return DDADEncoder()

    def head(self) -> DDADHead:
        """Reconstruction, comparison and anomaly map.

        Raises:
            NotFitted: nothing was trained yet.
        """
        return DDADHead(self.trained_networks(), self.pixel_weight, AnomalyMap(self.sigma))
