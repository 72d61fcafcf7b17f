"""GLASS: a discriminator between normal feature vectors and two kinds of made-up ones (Chen et al.

2024).

Written from the paper's formulas. Nothing is chosen by looking at test images: the last epoch
counts, where the published code keeps the one that is best on the test set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Literal

import numpy as np
import torch
from einops import rearrange, repeat
from numpy.random import default_rng
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam, AdamW, Optimizer

from flawmap.errors import OptionError
from flawmap.features.anomaly_map import AnomalyMap
from flawmap.features.context import PooledNeighbourhood
from flawmap.features.gradient_ascent import gradient_ascent, truncated_projection
from flawmap.features.patches import PatchEmbedder
from flawmap.features.spectrum import is_hypersphere
from flawmap.methods.head import Head
from flawmap.methods.trained_base import Losses, Preset, Shapes, TrainedMethod
from flawmap.runtime.decode import map_ahead
from flawmap.support.tensors import Compared, Embedded, Images, Maps, Patches, PerImage
from flawmap.synthetic.preprocessed import PaintedPreprocessed, paint_preprocessed

Distribution = Literal["manifold", "hypersphere", "auto"]

SHELL_RADII = (0.5, 1.0)
"""Distance of a made-up vector from the normal one that it was made of, at least and at most."""

HARD_FRACTION = 0.5
"""Share of the painted images' vectors that teach: those that the discriminator gets most wrong."""


@dataclass(eq=False)
class GLASS(TrainedMethod["GLASSNetworks"]):
    """GLASS: an adaptor and a discriminator on frozen features, trained with made-up anomalies.

    The discriminator D learns to tell normal vectors from such that were pushed away from them
    (global anomaly
    synthesis: noise, then gradient ascent within a shell about what is normal) and from those of
        painted defects (local anomaly synthesis: Perlin-shaped spots of texture). An image's score
        is its largest D, 0…1.

    Args:
        length: of the vectors; None for as many as the layers have channels together, 1536 with
            WideResNet-50-2.
        hidden: width of the discriminator; None for two thirds of that, 1024.
        distribution: about what the shell lies. `manifold`: each normal vector, at a distance of
            0.5 to 1. `hypersphere`: the mean vector of its place, at r to 2 r, r being where three
            quarters of the normal ones lie within, and 2 r to 4 r for painted ones. `auto`: by the
            spectrum of the mean image.
        spread: vectors are scaled such that they lie so far from their mean (root of the mean
            square); None leaves them as they come. Noise, shell and stride are lengths, published
            for a WideResNet-50-2, and networks differ: on drawn heat sinks vectors lie 2.5 from
            their mean with a ResNet-18, 37 with the default backbone.
        noise: standard deviation of what is added to normal vectors before the ascent; published
            0.015 for 1536 channels, which is as long as 0.05 for 152.
        ascents: steps of the ascent.
        stride: length of one.
        kinds: of painted defects, some of `flawmap.data.defects.KINDS`.
        rate: of the discriminator.
        adaptor_rate: of the adaptor.
        sigma: of the Gaussian over the map, in pixels.
    """

    embedding_dim: int | None = None
    hidden: int | None = None
    distribution: Distribution = "manifold"
    target_rms: float | None = 1.0
    noise_std: float = 0.05
    ascent_steps: int = 4
    ascent_step_size: float = field(default=0.005, metadata={"symbol": "η"})
    defect_types: tuple[str, ...] = ("texture",)
    learning_rate: float = 2e-4
    adaptor_learning_rate: float = 1e-4
    sigma: float = field(default=4.0, metadata={"symbol": "σ"})

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = [
            size for size in (self.embedding_dim, self.hidden, self.target_rms) if size is not None
        ]
        if (
            min(
                self.ascent_steps,
                self.noise_std,
                self.ascent_step_size,
                self.learning_rate,
                self.adaptor_learning_rate,
                *sizes,
            )
            <= 0
        ):
            raise OptionError(
                f"{self} cannot learn; use more than 0 of each number, or None for length, "
                f"hidden, spread"
            )
        self.distribution_: Distribution = self.distribution
        self.scale_ = 1.0

    def training_inputs(self, images: Images) -> list[Tensor]:
        """Hold the vectors, which never change, and the images, to paint on."""
        return [*self.encoder_runner.encode(images).maps, images]

    def on_train_start(self, held: list[Tensor]) -> None:
        """Find the scale, and choose the hypothesis where that is left to the images."""
        if self.target_rms is not None:
            vectors = held[0].flatten(0, 2)
            variance = torch.stack(
                [channel.double().var(correction=0) for channel in vectors.unbind(dim=1)]
            ).sum()
            self.scale_ = self.target_rms / max(float(variance.sqrt()), 1e-9)
        if self.distribution == "auto":
            mean, std = (
                np.asarray(values, np.float32)
                for values in (self.feature_extractor.mean, self.feature_extractor.std)
            )
            image = held[1].mean(dim=0).permute(1, 2, 0).numpy() * std + mean
            self.distribution_ = "hypersphere" if is_hypersphere(255 * image) else "manifold"
            self.notes = [
                f"By the spectrum of the mean image the vectors lie about a {self.distribution_}."
            ]

    def networks(self, shapes: Shapes) -> GLASSNetworks:
        """Make adaptor and discriminator."""
        width = shapes[0][-1]
        return GLASSNetworks(
            Adaptor(width, self.scale_), Discriminator(width, self.hidden or max(1, 2 * width // 3))
        )

    def optimizers(self, networks: GLASSNetworks) -> list[Optimizer]:
        """Make one for each network, as published."""
        return [
            Adam(networks.adaptor.parameters(), self.adaptor_learning_rate, weight_decay=1e-5),
            AdamW(networks.discriminator.parameters(), self.learning_rate),
        ]

    def training_batches(
        self, held: list[Tensor], order: Sequence[int], epoch: int
    ) -> Iterator[list[Tensor]]:
        """Vectors of a batch, those with painted defects, the defects' masks and the centres."""
        grids, images = held
        centre = grids.mean(dim=0)
        painted = map_ahead(
            lambda place: self._synthesise_local(images[place], [self.seed, epoch, place]), order
        )
        for places in self._chunks(order):
            painted_images, spots = map(np.stack, zip(*islice(painted, len(places)), strict=True))
            yield [
                grids[places],
                self.encoder_runner.encode(torch.from_numpy(painted_images)).maps[0],
                torch.from_numpy(spots),
                centre,
            ]

    def loss(self, networks: GLASSNetworks, batch: list[Tensor]) -> Losses:
        """Tell normal vectors from made-up ones."""
        adaptor, discriminator = networks.adaptor, networks.discriminator
        grids, grids_painted, spots, centre = batch
        marked = functional.adaptive_max_pool2d(spots[:, None], grids.shape[1:3]).flatten()
        normal, painted = (
            rearrange(adaptor(one), "b h w c -> (b h w) c") for one in (grids, grids_painted)
        )
        # The adaptor is affine, so the mean of what it gives is what it gives of the mean.
        middle = repeat(adaptor(centre).detach(), "h w c -> (b h w) c", b=len(grids))
        about, (near, far) = normal.detach(), normal.new_tensor(SHELL_RADII)
        if self.distribution_ == "hypersphere":
            about, near = (
                middle,
                _radius_p75(normal, painted[marked == 0], middle, middle[marked == 0]),
            )
            far = 2 * near
            painted = torch.where(
                marked[:, None] > 0, truncated_projection(painted, middle, far, 2 * far), painted
            )
        # Held as a difference without a history, so that the adaptor still learns from the vectors
        # under it.
        apart = self._synthesise_global(
            discriminator,
            normal.detach(),
            partial(truncated_projection, about=about, near=near, far=far),
        )
        logits = discriminator(torch.cat([normal, normal + apart, painted])).split(len(normal))
        return {
            "normal": functional.softplus(logits[0]).mean(),
            "ascended": functional.softplus(-logits[1]).mean(),
            "painted": focal_loss(logits[2], marked),
        }

    def _synthesise_global(
        self, discriminator: Discriminator, normal: Patches, project: Callable[[Tensor], Tensor]
    ) -> Patches:
        """Make anomalies of normal vectors; gives how far they are from these."""
        start = normal + self.noise_std * torch.randn_like(normal)
        # By running statistics, so that each vector rises by itself, and the way up is not counted
        # among them.
        risen = gradient_ascent(
            discriminator.eval(), start, project, self.ascent_steps, self.ascent_step_size
        )
        discriminator.train()
        return risen - normal

    def _synthesise_local(self, image: Tensor, seed: list[int]) -> PaintedPreprocessed:
        return paint_preprocessed(
            image.numpy(),
            default_rng(seed),
            self.feature_extractor.mean,
            self.feature_extractor.std,
            self.defect_types,
        )

    def encoder(self) -> GLASSEncoder:
        """Give network and neighbourhoods as one module."""
        return GLASSEncoder(
            PatchEmbedder(
                self.feature_extractor,
                PooledNeighbourhood(self.embedding_dim or sum(self.feature_extractor.channels)),
            )
        )

    def head(self) -> GLASSHead:
        """Give adaptor, discriminator and map as one module."""
        networks = self.trained_networks()
        return GLASSHead(networks.adaptor, networks.discriminator, AnomalyMap(self.sigma))


class GLASSNetworks(nn.Module):
    """What is trained: what adapts vectors, and what tells them apart."""

    def __init__(self, adaptor: Adaptor, discriminator: Discriminator) -> None:
        super().__init__()
        self.adaptor, self.discriminator = adaptor, discriminator


class Adaptor(nn.Module):
    """Fits vectors to what is asked of them: scales, and maps them by one linear layer.

    Args:
        width: of the vectors.
        scale: that they are multiplied by first.
    """

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.scale: Tensor
        self.register_buffer("scale", torch.tensor(scale))
        self.linear = nn.Linear(width, width)
        nn.init.xavier_normal_(self.linear.weight)

    def forward(self, vectors: Tensor) -> Tensor:
        """Adapt vectors, whose channels are the last axis."""
        adapted: Tensor = self.linear(self.scale * vectors)
        return adapted


class Discriminator(nn.Module):
    """Says of vectors how anomalous they are, as logits.

    Args:
        width: of the vectors.
        hidden: width within.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.inner, self.norm = nn.Linear(width, hidden), nn.BatchNorm1d(hidden)
        self.last = nn.Linear(hidden, 1, bias=False)
        for layer in (self.inner, self.last):
            nn.init.xavier_normal_(layer.weight)

    def forward(self, vectors: Patches) -> Tensor:
        """Give one logit a vector."""
        logits: Tensor = self.last(functional.leaky_relu(self.norm(self.inner(vectors)), 0.2))
        return logits[:, 0]


class GLASSEncoder(nn.Module):
    """Images to one vector per patch.

    Args:
        embedding: images to a patch grid.
    """

    def __init__(self, embedding: PatchEmbedder) -> None:
        super().__init__()
        self.embedding = embedding

    def forward(self, images: Images) -> Embedded:
        """One patch grid (batch, row, column, channel).

        Args:
            images: (batch, 3, height, width), preprocessed.
        """
        embedded: Embedded = self.embedding(images)
        return embedded


class GLASSHead(Head):
    """Patch vectors to scores: adapt, discriminate, draw the map.

    Args:
        adaptor: vectors to adapted vectors.
        discriminator: adapted vectors to logits of being anomalous.
        pixel_map: scores per patch to scores per pixel.
    """

    def __init__(self, adaptor: nn.Module, discriminator: nn.Module, pixel_map: AnomalyMap) -> None:
        super().__init__()
        self.adaptor = adaptor
        self.discriminator = discriminator
        self.pixel_map = pixel_map

    def compare(self, embedded: Embedded) -> Compared:
        """How anomalous each patch is, 0…1.

        Args:
            embedded: one patch grid (batch, row, column, channel).
        """
        grid = embedded.maps[0]
        rows, columns = grid.shape[1:3]
        logits = self.discriminator(self.adaptor(grid.flatten(0, 2)))
        anomaly = rearrange(torch.sigmoid(logits), "(b h w) -> b h w", h=rows, w=columns)
        return Compared((anomaly,))

    def anomaly_map(self, embedded: Embedded, compared: Compared, height: int, width: int) -> Maps:
        """The patches' scores in the image's size, smoothed.

        Args:
            embedded: unused.
            compared: how anomalous each patch is.
            height: of the images, in pixels.
            width: of the images, in pixels.
        """
        del embedded
        maps: Maps = self.pixel_map(compared.distances[0], height, width)
        return maps

    def image_score(self, embedded: Embedded, compared: Compared, maps: Maps) -> PerImage:
        """The score of each image's most anomalous patch, before smoothing.

        Args:
            embedded: unused.
            compared: how anomalous each patch is.
            maps: unused.
        """
        del embedded, maps
        return compared.distances[0].amax(dim=(1, 2))


def focal_loss(logits: Tensor, marked: Tensor) -> Tensor:
    """Give the focal loss of the half of all vectors that are most wrong.

    −(1 − p)² log p, p of what is true.

    Args:
        logits: of being anomalous.
        marked: 1 for the anomalous, 0 for the others.
    """
    odd = torch.sigmoid(logits)
    wrong = (odd - marked).square().detach()
    # Smoothed, so that the logarithm ends.
    true = torch.where(marked > 0, odd, 1 - odd) * (1 - 2 * _SMOOTH) + _SMOOTH
    losses = -(1 - true).square() * true.log()
    return losses[wrong >= wrong.quantile(HARD_FRACTION)].mean()


def _radius_p75(
    normal: Patches, painted: Patches, middle: Patches, middle_painted: Patches
) -> Tensor:
    """Third quartile of the distances of normal vectors from their position's mean."""
    apart = torch.cat([(normal - middle).norm(dim=1), (painted - middle_painted).norm(dim=1)])
    return apart.detach().quantile(0.75)


_SMOOTH = 1e-5

PRESETS = {
    "cpu": Preset(
        "about ten minutes on two cores", options={"epochs": 90, "max_images_per_epoch": 400}
    ),
    "paper": Preset(
        "as published, for a GPU",
        size=288,
        options={
            "backbone": "wide_resnet50_2.tv_in1k",
            "epochs": 640,
            "max_images_per_epoch": 392,
            "target_rms": None,
            "noise_std": 0.015,
            "ascent_steps": 20,
            "ascent_step_size": 0.001,
        },
    ),
    "smoke": Preset(
        "seconds, to see that it runs",
        options={
            "epochs": 2,
            "max_images_per_epoch": 8,
            "batch_size": 4,
            "ascent_steps": 2,
            "hidden": 16,
        },
    ),
}
"""The lengths of the paper's are for its backbone's vectors.

Its test images choose nothing here.
"""
