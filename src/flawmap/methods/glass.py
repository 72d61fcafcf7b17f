"""GLASS: a discriminator of normal feature vectors and synthesised anomalies (Chen et al. 2024).

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
from flawmap.features.discriminator import Adaptor, Discriminator, focal_loss
from flawmap.features.gradient_ascent import gradient_ascent, truncated_projection
from flawmap.features.patches import PatchEmbedder
from flawmap.features.spectrum import is_hypersphere
from flawmap.methods.glass_head import GLASSHead
from flawmap.methods.trained_base import Losses, Shapes, TrainedMethod
from flawmap.runtime.images.decode import map_ahead
from flawmap.support.options import check_range
from flawmap.support.tensors import Images, Patches
from flawmap.synthetic.preprocessed import PaintedPreprocessed, paint_preprocessed

_SHELL_RADII = (0.5, 1.0)
"""Least and greatest distance of a synthesised vector from the normal one that it was made of."""


class GLASSNetworks(nn.Module):
    """What is trained: the adaptor of vectors, and the discriminator.

    Args:
        adaptor: vectors to adapted vectors.
        discriminator: adapted vectors to logits of being anomalous.
    """

    def __init__(self, adaptor: Adaptor, discriminator: Discriminator) -> None:
        super().__init__()
        self.adaptor = adaptor
        self.discriminator = discriminator


@dataclass(eq=False)
class GLASS(TrainedMethod[GLASSNetworks]):
    """GLASS: an adaptor and a discriminator on frozen features, trained with synthesised anomalies.

    The discriminator D is trained to tell normal vectors from those that were pushed away from them
    (global anomaly synthesis: noise, then gradient ascent within a shell around what is normal) and
    from those of painted defects (local anomaly synthesis: Perlin-shaped spots of texture). An
    image's score is its largest D, 0…1.

    Args:
        embedding_dim: of the vectors; None for as many as the layers have channels together, 1536
            with WideResNet-50-2.
        hidden: width of the discriminator; None for two thirds of that, 1024.
        distribution: around what the shell lies. `manifold`: each normal vector, at a distance of
            0.5 to 1. `hypersphere`: the mean vector of its position, at r to 2 r, r being where
            three quarters of the normal ones lie within, and 2 r to 4 r for painted ones. `auto`:
            by the spectrum of the mean image.
        target_rms: vectors are scaled such that they lie so far from their mean (root of the mean
            square); None leaves them as they are. Noise, shell and step size are lengths, published
            for a WideResNet-50-2, and networks differ: on drawn heat sinks vectors lie 2.5 from
            their mean with a ResNet-18, 37 with the default backbone.
        noise_std: standard deviation of what is added to normal vectors before the ascent;
            published 0.015 for 1536 channels, which is as long as 0.05 for 152.
        ascent_steps: number of steps of the ascent.
        ascent_step_size: length of one.
        defect_types: of painted defects, some of `flawmap.synthetic.defects.PAINTED_TYPES`.
        learning_rate: of the discriminator.
        adaptor_learning_rate: of the adaptor.
        sigma: of the Gaussian over the map, in pixels.

    Raises:
        OptionError: a value that cannot be.

    Example:
        >>> GLASS(distribution="auto", ascent_steps=2).holdout_fraction
        0.2
    """

    embedding_dim: int | None = None
    hidden: int | None = None
    distribution: Literal["manifold", "hypersphere", "auto"] = "manifold"
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
        check_range(self, "sigma", 0)
        optional = (self.embedding_dim, self.hidden, self.target_rms)
        given = [size for size in optional if size is not None]
        rates = (self.learning_rate, self.adaptor_learning_rate)
        if min(self.ascent_steps, self.noise_std, self.ascent_step_size, *rates, *given) <= 0:
            raise OptionError(
                f"{self} cannot be trained with; use more than 0 of each number, or None for "
                "embedding_dim, hidden, target_rms"
            )
        self.distribution_ = self.distribution
        self.scale_ = 1.0

    def training_inputs(self, images: Images) -> list[Tensor]:
        """The vectors, which never change, and the images, to paint on.

        Args:
            images: (batch, 3, height, width), preprocessed.
        """
        return [*self.encoder_runner.encode(images).maps, images]

    def on_train_start(self, cached: list[Tensor]) -> None:
        """Measure the scale, and choose the hypothesis where that is left to the images.

        Args:
            cached: vectors and images.
        """
        grids, images = cached
        if self.target_rms is not None:
            channels = grids.flatten(0, 2).unbind(dim=1)
            variances = [channel.double().var(correction=0) for channel in channels]
            variance = torch.stack(variances).sum()
            self.scale_ = self.target_rms / max(float(variance.sqrt()), 1e-9)
        if self.distribution == "auto":
            mean = np.asarray(self.feature_extractor.mean, np.float32)
            std = np.asarray(self.feature_extractor.std, np.float32)
            image = images.mean(dim=0).permute(1, 2, 0).numpy() * std + mean
            self.distribution_ = "hypersphere" if is_hypersphere(255 * image) else "manifold"
            self.notes = [
                f"By the spectrum of the mean image the vectors lie around a {self.distribution_}."
            ]

    def networks(self, shapes: Shapes) -> GLASSNetworks:
        """Adaptor and discriminator, untrained.

        Args:
            shapes: of vectors and image.
        """
        channels = shapes[0][-1]
        hidden = self.hidden or max(1, 2 * channels // 3)
        return GLASSNetworks(Adaptor(channels, self.scale_), Discriminator(channels, hidden))

    def optimizers(self, networks: GLASSNetworks) -> list[Optimizer]:
        """One for each network, as published.

        Args:
            networks: what is trained.
        """
        return [
            Adam(networks.adaptor.parameters(), self.adaptor_learning_rate, weight_decay=1e-5),
            AdamW(networks.discriminator.parameters(), self.learning_rate),
        ]

    def training_batches(
        self, cached: list[Tensor], order: Sequence[int], epoch: int
    ) -> Iterator[list[Tensor]]:
        """Vectors of a batch, those with painted defects, the defects' masks and the mean vectors.

        Args:
            cached: vectors and images.
            order: indices of the images that are drawn for this epoch.
            epoch: counted from 1.
        """
        grids, images = cached
        mean_grid = grids.mean(dim=0)

        def paint(index: int) -> PaintedPreprocessed:
            return self._paint(images[index], [self.seed, epoch, index])

        painted = map_ahead(paint, order)
        for indices in self.split_batches(order):
            painted_batch = list(islice(painted, len(indices)))
            painted_images = np.stack([item.image for item in painted_batch])
            masks = np.stack([item.mask for item in painted_batch])
            painted_grids = self.encoder_runner.encode(torch.from_numpy(painted_images)).maps[0]
            yield [grids[indices], painted_grids, torch.from_numpy(masks), mean_grid]

    def loss(self, networks: GLASSNetworks, batch: list[Tensor]) -> Losses:
        """Losses of normal vectors, of ascended anomalies and of painted ones.

        Args:
            networks: what is trained.
            batch: what `training_batches` gave.
        """
        grids, painted_grids, masks, mean_grid = batch
        adaptor = networks.adaptor
        marked = functional.adaptive_max_pool2d(masks[:, None], grids.shape[1:3]).flatten()
        normal = rearrange(adaptor(grids), "b h w c -> (b h w) c")
        painted = rearrange(adaptor(painted_grids), "b h w c -> (b h w) c")
        # The adaptor is affine, so the mean of its output is its output for the mean.
        mean = repeat(adaptor(mean_grid).detach(), "h w c -> (b h w) c", b=len(grids))
        centres = normal.detach()
        near, far = normal.new_tensor(_SHELL_RADII)
        if self.distribution_ == "hypersphere":
            centres = mean
            unmarked = marked == 0
            near = _radius_p75(normal - mean, painted[unmarked] - mean[unmarked])
            far = 2 * near
            pushed = truncated_projection(painted, mean, far, 2 * far)
            painted = torch.where(marked[:, None] > 0, pushed, painted)
        project = partial(truncated_projection, centres=centres, near=near, far=far)
        ascended = self._ascend(networks.discriminator, normal.detach(), project)
        # The ascent is a difference without gradient history, so that the adaptor is still trained
        # by the vectors under it.
        ascended = normal + (ascended - normal.detach())
        vectors = torch.cat([normal, ascended, painted])
        logits = networks.discriminator(vectors).split(len(normal))
        return {
            "normal": functional.softplus(logits[0]).mean(),
            "ascended": functional.softplus(-logits[1]).mean(),
            "painted": focal_loss(logits[2], marked),
        }

    def _ascend(
        self, discriminator: Discriminator, normal: Patches, project: Callable[[Tensor], Tensor]
    ) -> Patches:
        """Global anomaly synthesis: an anomaly of each normal vector."""
        start = normal + self.noise_std * torch.randn_like(normal)
        # By running statistics, so that each vector climbs by itself, and the way up is not counted
        # among them.
        ascended = gradient_ascent(
            discriminator.eval(), start, project, self.ascent_steps, self.ascent_step_size
        )
        discriminator.train()
        return ascended

    def _paint(self, image: Tensor, seed: list[int]) -> PaintedPreprocessed:
        """Local anomaly synthesis: a painted defect."""
        mean = self.feature_extractor.mean
        std = self.feature_extractor.std
        return paint_preprocessed(image.numpy(), default_rng(seed), mean, std, self.defect_types)

    def encoder(self) -> PatchEmbedder:
        """Images to one vector per patch."""
        channels = self.embedding_dim or sum(self.feature_extractor.channels)
        context = PooledNeighbourhood(channels)
        return PatchEmbedder(self.feature_extractor, context)

    def head(self) -> GLASSHead:
        """Adaptor, discriminator and anomaly map.

        Raises:
            NotFitted: nothing was trained yet.
        """
        networks = self.trained_networks()
        return GLASSHead(networks.adaptor, networks.discriminator, AnomalyMap(self.sigma))


def _radius_p75(*offsets: Patches) -> Tensor:
    """Third quartile of the lengths of offsets from the mean vector of a position."""
    lengths = torch.cat([offset.norm(dim=1) for offset in offsets])
    return lengths.detach().quantile(0.75)
