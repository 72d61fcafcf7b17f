"""DDAD: noise is taken from a picture such that defects are mended; what was mended is odd (Mousakhan et al. 2024).

Written from the paper's formulas. Two things of the published code are otherwise: what weighs pixels against features
is measured once on good pictures, where it was taken from the batch that is judged; and the noise is always the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar

import torch
from numpy.random import default_rng
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam, AdamW, Optimizer

from flawmap.errors import OptionError
from flawmap.features.backbone import Backbone
from flawmap.features.context import average
from flawmap.features.diffusion import LEVELS, START, STEPS, mix, reconstruct, share_of
from flawmap.features.maps import PixelMap
from flawmap.features.unet import UNet
from flawmap.methods.base import best_device
from flawmap.methods.trained import Losses, Preset, Shapes, TrainedMethod
from flawmap.progress import track
from flawmap.tensors import Features, Images, Scores

MEASURED = 64
"""Good pictures by which pixels are weighed against features, at most."""


@dataclass(eq=False)
class DDAD(TrainedMethod["Mender"]):
    """DDAD: denoising diffusion, steered by the picture itself.

    A UNet learns to tell noise from good pictures. A picture to judge is made noisy and clean again, steered towards
    itself, so that all returns but what no good picture has. Picture and mended picture are compared by pixels, and by
    the features of a backbone that was adapted to see no difference on good pictures. Judging takes ten passes of the
    UNet. Published at 256 px with a WideResNet-101-2, 1000 to 3000 epochs, and with settings for each class that were
    chosen on its test pictures; here they are the same for all.

    Args:
        layers: the first is adapted too, and not compared.
        epochs: of the UNet.
        adapt: epochs of the backbone, after them.
        reduce: the sides of the pictures are divided by this for the network's work.
        base: channels of the UNet at its finest scale.
        multipliers: of them at each scale.
        blocks: of the UNet at each scale.
        attend: its first scale with attention, counted from 0.
        heads: of the attention.
        dropout: in the UNet's training.
        steering: how strongly mending is steered towards the picture, w.
        adapt_steering: the same while the backbone is adapted, towards another good picture.
        pixels: what the difference by pixels counts beside that by features, v.
        keep: weight of what holds the adapted backbone to the original, λ.
        levels: of noise that the UNet learns to tell, from the least; mending asks for the first 250 alone.
        rate: of the UNet.
        adapt_rate: of the backbone.
        sigma: of the Gaussian over the map, in pixels.
    """

    fixed: ClassVar[tuple[str, ...]] = ("epochs",)
    whole: ClassVar[bool] = True

    layers: tuple[int, ...] = (1, 2, 3)
    epochs: int = 40
    batch: int = 4
    most: int | None = 400
    adapt: int = 1
    reduce: int = 2
    base: int = 16
    multipliers: tuple[int, ...] = (1, 2, 4, 4)
    blocks: int = 1
    attend: int = 3
    heads: int = 4
    dropout: float = 0.0
    steering: float = 3.0
    adapt_steering: float = 3.0
    pixels: float = 1.0
    keep: float = 0.1
    levels: int = START
    rate: float = 1e-3
    adapt_rate: float = 1e-4
    sigma: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = (self.reduce, self.base, self.blocks, self.heads, *self.multipliers)
        if min(*sizes, self.rate, self.adapt_rate) <= 0 or min(self.adapt, self.attend, self.pixels, self.keep) < 0:
            raise OptionError(f"{self} cannot learn; use more than 0 of each, or 0 for adapt, attend, pixels, keep")
        if self.base % self.heads or len(self.layers) < 2:
            raise OptionError(
                f"{self.base} channels for {self.heads} heads, layers {self.layers}; use a base that is divisible by "
                "heads, and two layers or more, of which the first is not compared"
            )
        if not START <= self.levels <= LEVELS:
            raise OptionError(f"{self.levels} levels of noise; use {START}, which mending begins with, to {LEVELS}")
        if self.precision != "f32":
            raise OptionError(f"DDAD's networks are trained and compute in f32, not in {self.precision}")

    @property
    def ends(self) -> tuple[int, ...]:
        """The UNet's last epoch, and the backbone's."""
        return (self.epochs, self.epochs + self.adapt)

    def take(self, images: Images) -> list[Tensor]:
        """Hold the pictures."""
        return [images]

    def networks(self, shapes: Shapes) -> Mender:
        """Make the UNet, and a copy of the backbone to be adapted."""
        return Mender(shapes[0], self.network, self)

    def optimizers(self, networks: Mender) -> list[Optimizer]:
        """Make one for each network; the UNet's decay is part of its gradient, as published."""
        adapted = networks.adapted.requires_grad_(True)
        return [
            Adam(networks.unet.parameters(), self.rate, weight_decay=0.05),
            AdamW(adapted.parameters(), self.adapt_rate),
        ]

    def lessons(self, held: list[Tensor], order: Sequence[int], epoch: int) -> Iterator[list[Tensor]]:
        """Give pictures, and once the UNet is trained, another good one beside each."""
        images, rng = held[0], default_rng([self.seed, epoch, len(held[0])])
        for places in self._chunks(order):
            if epoch <= self.epochs:
                yield [images[places]]
            else:
                others = rng.integers(1, len(images), len(places)).tolist()
                partners = [(place + other) % len(images) for place, other in zip(places, others, strict=True)]
                yield [images[places], images[partners]]

    def loss(self, networks: Mender, lesson: list[Tensor]) -> Losses:
        """Ask for the noise in pictures; or, of the backbone, to see no difference between mended and good ones."""
        pictures = networks.reduced(lesson[0])
        if len(lesson) == 1:
            noise = torch.randn_like(pictures)
            levels = torch.randint(self.levels, (len(pictures),), device=pictures.device)
            noisy = mix(pictures, noise, share_of(levels))
            wrong = (networks.unet(noisy, levels) - noise).square().sum(dim=(1, 2, 3)).mean()
            return {"noise": wrong, "features": torch.zeros_like(wrong)}
        target = networks.reduced(lesson[1])
        noises = torch.randn(STEPS + 1, *pictures.shape, device=pictures.device)
        with torch.no_grad():
            mended = reconstruct(networks.unet.eval(), pictures, target, noises, self.adapt_steering)
            was_mended, was_target = self._original(networks, mended), self._original(networks, target)
        is_mended, is_target = networks.seen(mended), networks.seen(target)
        apart = _unlike(is_mended, is_target)
        apart = apart + self.keep * (_unlike(is_target, was_target) + _unlike(is_mended, was_mended))
        return {"noise": torch.zeros_like(apart), "features": apart}

    def finish(self, networks: Mender, held: list[Tensor]) -> None:
        """Measure how large differences by pixels and by features get on mended good pictures."""
        by_pixels, by_features = [], []
        some = held[0][:MEASURED].split(self.batch)
        for images in track(some, "weighing pixels against features", len(some)):
            with torch.no_grad():
                apart = networks.differences(images.to(best_device()))
            by_pixels.append(apart[0].max())
            by_features.append(apart[1].max())
        networks.balance.copy_(torch.stack(by_features).max() / torch.stack(by_pixels).max().clamp_min(1e-9))

    def encoder(self) -> Pictures:
        """Give pictures as they are; all of the work is the judge's."""
        return Pictures()

    def judge(self) -> DDADJudge:
        """Give mending, comparison and map as one module."""
        return DDADJudge(self.trained(), self.pixels, PixelMap(self.sigma))

    def _original(self, networks: Mender, pictures: Tensor) -> list[Features]:
        maps: list[Features] = self.network(networks.as_prepared(pictures))
        return maps


class Mender(nn.Module):
    """Mends pictures and compares them with what they were.

    Args:
        shape: of the pictures: channels, rows, columns.
        backbone: to be adapted.
        options: sizes, and how strongly to steer.
    """

    def __init__(self, shape: Sequence[int], backbone: Backbone, options: DDAD) -> None:
        super().__init__()
        self.unet = UNet(
            options.base, options.multipliers, options.blocks, options.attend, options.heads, options.dropout
        )
        self.adapted, self.steering = deepcopy(backbone), options.steering
        self.size = [max(1, side // options.reduce) for side in shape[1:]]
        self.mean: Tensor
        self.std: Tensor
        self.noises: Tensor
        self.balance: Tensor
        for name, values in {"mean": backbone.mean, "std": backbone.std}.items():
            self.register_buffer(name, torch.tensor(values).reshape(3, 1, 1))
        # The same for every picture, so that a picture's score depends on nothing but itself.
        self.register_buffer("noises", torch.randn(STEPS + 1, 3, *self.size))
        self.register_buffer("balance", torch.ones(()))

    def reduced(self, images: Images) -> Tensor:
        """Bring prepared pictures to the size of the work, −1…1."""
        pictures: Tensor = functional.interpolate(2 * (images * self.std + self.mean) - 1, size=self.size, mode="area")
        return pictures

    def as_prepared(self, pictures: Tensor) -> Tensor:
        """Bring pictures of −1…1 to what backbones read."""
        return ((pictures + 1) / 2 - self.mean) / self.std

    def seen(self, pictures: Tensor) -> list[Features]:
        """Say what the adapted backbone sees."""
        maps: list[Features] = self.adapted(self.as_prepared(pictures))
        return maps

    def differences(self, images: Images) -> list[Tensor]:
        """Mend pictures; give how far they are from what they were, by pixels and by features, (batch, row, column)."""
        pictures = self.reduced(images)
        mended = reconstruct(self.unet, pictures, pictures, self.noises[:, None], self.steering)
        by_pixels = (pictures - mended).abs().mean(dim=1)
        layers = zip(self.seen(pictures)[1:], self.seen(mended)[1:], strict=True)
        apart = [1 - functional.cosine_similarity(average(one), average(other), dim=1) for one, other in layers]
        size = by_pixels.shape[-2:]
        wide = [functional.interpolate(one[:, None], size, mode="bilinear", align_corners=True) for one in apart]
        return [by_pixels, torch.stack(wide).sum(dim=0)[:, 0].clamp_min(0)]


class Pictures(nn.Module):
    """Pictures as they are."""

    def forward(self, images: Images) -> list[Tensor]:
        """Give the pictures."""
        return [images]


class DDADJudge(nn.Module):
    """Pictures to scores: D_f + v · (max D_f / max D_p) · D_p, the maxima those of good pictures; then smoothed."""

    def __init__(self, mender: Mender, pixels: float, pixel_map: PixelMap) -> None:
        super().__init__()
        self.mender, self.pixels, self.pixel_map = mender, pixels, pixel_map

    def forward(self, encoded: list[Tensor], height: int, width: int) -> Scores:
        """Score pictures; the image score is the smoothed map's largest value."""
        by_pixels, by_features = self.mender.differences(encoded[0])
        apart = by_features + self.pixels * self.mender.balance * by_pixels
        pixel = self.pixel_map(apart, height, width)
        return Scores(pixel.amax(dim=(1, 2)), pixel)


def _unlike(one: list[Features], other: list[Features]) -> Tensor:
    """Sum 1 − cos over layers, each layer of a picture as one vector, in the mean over pictures."""
    alike = [functional.cosine_similarity(a.flatten(1), b.flatten(1)) for a, b in zip(one, other, strict=True)]
    return (1 - torch.stack(alike)).sum(dim=0).mean()


PRESETS = {
    "cpu": Preset("about ten minutes on two cores"),
    "paper": Preset(
        "as published with one setting for all classes, for a GPU and hours",
        size=256,
        options={
            "backbone": "wide_resnet101_2.tv_in1k",
            "epochs": 2000,
            "most": None,
            "adapt": 4,
            "batch": 32,
            "reduce": 1,
            "base": 64,
            "multipliers": (1, 1, 2, 2, 4, 4),
            "blocks": 2,
            "levels": LEVELS,
            "rate": 3e-4,
        },
    ),
    "smoke": Preset(
        "seconds, to see that it runs",
        options={"epochs": 2, "batch": 4, "base": 8, "heads": 2, "multipliers": (1, 2), "attend": 1, "adapt": 0},
    ),
}
