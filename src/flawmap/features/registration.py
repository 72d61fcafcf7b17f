"""Registration: all images of a product are brought into one pose, inside the backbone.

A reconstruction. FR-PatchCore (Jiang et al. 2024) says that it registers features as RegAD does
(Huang et al. 2022) but not with which layers or numbers; where it is silent, layers and numbers are
RegAD's, and no figure of either paper has been reproduced here. Only good images are trained on:
the weights kept are those with the lowest training loss, where RegAD's published code selects by
the score on the test set.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD

from flawmap.errors import DatasetError, OptionError
from flawmap.features.backbone import Backbone
from flawmap.features.spatial_transformer import FeatureAligner, TransformModel, make_aligner
from flawmap.render.curves import plot_losses
from flawmap.support.options import to_dict
from flawmap.support.tensors import Features, Transforms
from flawmap.training.checkpoint import hash_of, with_prefix
from flawmap.training.loop import TrainingRun
from flawmap.training.metrics import EpochMetrics
from flawmap.training.monitor import TrainingMonitor


@dataclass(frozen=True)
class Registration(ABC):
    """Options of a registration; `fit` gives the module that registers."""

    @abstractmethod
    def fit(
        self, backbone: Backbone, batches: Iterable[Tensor], seed: int, folder: Path | None = None
    ) -> FeatureAligner | None:
        """Train on good images of one product; the aligner, or None for no registration.

        Args:
            backbone: stays as it is.
            batches: the images, (batch, 3, height, width) each, all of one size; gone through once.
            seed: of whatever is random.
            folder: for checkpoints to resume from, and curves; None keeps nothing.
        """


@dataclass(frozen=True)
class NoRegistration(Registration):
    """Images are taken as they lie."""

    def fit(
        self, backbone: Backbone, batches: Iterable[Tensor], seed: int, folder: Path | None = None
    ) -> FeatureAligner | None:
        """None: nothing is registered.

        Args:
            backbone: unused.
            batches: unused.
            seed: unused.
            folder: unused.
        """
        del backbone, batches, seed, folder
        return None


@dataclass(frozen=True)
class SpatialTransformerRegistration(Registration):
    """Spatial transformers that make pairs of images alike to the backbone's later stages (RegAD).

    Args:
        epochs: passes over all images, > 0; in each, every image meets another one.
        learning_rate: of the stochastic gradient descent in the first epoch, > 0; falls along a
            cosine to 0.
        batch_size: pairs at once, > 0; 32 take 2 GB at 224×224 in the default backbone.
        transform: what a transformer may do; see `SpatialTransformer`.
        deviation_weight: weight in the loss, >= 0, of the squares of what the transforms add to the
            identity. RegAD has none, but nothing else says which pose is the right one: on 24 drawn
            parts turned by up to 15°, in a ResNet-18 and in the default backbone, a learning rate
            of 0.01 without it led to turns of a hundred degrees, and with 0.1 to turns that undo
            the parts' own (correlation −0.98).

    Raises:
        OptionError: a value that cannot be.

    Example:
        >>> from flawmap.features.backbone import Backbone
        >>> registration = SpatialTransformerRegistration(epochs=1)
        >>> images = torch.rand(4, 3, 64, 64)
        >>> backbone = Backbone("test_resnet", weights="random")
        >>> aligner = registration.fit(backbone, [images], seed=0)
        >>> [tuple(transform.shape) for transform in aligner(backbone, images).transforms]
        [(4, 2, 3), (4, 2, 3), (4, 2, 3)]
    """

    epochs: int = 50
    learning_rate: float = 1e-4
    batch_size: int = 32
    transform: TransformModel = "rotation_scale"
    deviation_weight: float = 0.1

    def __post_init__(self) -> None:
        if min(self.epochs, self.learning_rate, self.batch_size) <= 0 or self.deviation_weight < 0:
            raise OptionError(
                f"{self} cannot be trained with; use more than 0 of each number, or 0 for "
                "deviation_weight"
            )

    def fit(
        self, backbone: Backbone, batches: Iterable[Tensor], seed: int, folder: Path | None = None
    ) -> FeatureAligner:
        """Train on pairs of images; all are held in memory, 0.6 MB each at 224×224.

        Args:
            backbone: stays as it is.
            batches: the images, (batch, 3, height, width) each, all of one size; gone through once.
            seed: of weights and pairs.
            folder: for checkpoints to resume from, and curves; None keeps nothing.

        Raises:
            DatasetError: fewer than two images.
            OptionError: no transformer can be put into this backbone.
            TrainingError: the loss or the weights became infinite or not a number.
            WriteError: the folder cannot be written.
        """
        images = [image for batch in batches for image in batch]
        if len(images) < 2:
            raise DatasetError(
                f"registration is trained on pairs of images and got {len(images)}; give two or "
                "more, or do without it"
            )
        device = next(backbone.parameters()).device
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            networks = _SiameseNetworks(
                make_aligner(backbone, images[0].to(device), self.transform),
                _pointwise(backbone.channels[-1], 3),
                _pointwise(backbone.channels[-1], 2),
            )
        training = _RegistrationTraining(self, networks.to(device), backbone, images, seed)
        training.run(folder)
        aligner = training.best_aligner()
        return aligner.eval().requires_grad_(False)


class _SiameseNetworks(nn.Module):
    """What is trained: the aligner, and two heads that go afterwards."""

    def __init__(self, aligner: FeatureAligner, encoder: nn.Module, predictor: nn.Module) -> None:
        super().__init__()
        self.aligner = aligner
        self.encoder = encoder
        self.predictor = predictor


class _RegistrationTraining(TrainingRun[_SiameseNetworks]):
    """The training of a registration; its generator goes on from epoch to epoch."""

    def __init__(
        self,
        options: SpatialTransformerRegistration,
        networks: _SiameseNetworks,
        backbone: Backbone,
        images: list[Tensor],
        seed: int,
    ) -> None:
        self.options = options
        self.backbone = backbone
        self.images = images
        self.seed = seed
        self._generator = torch.Generator().manual_seed(seed)
        self._best = _copy_of(networks.aligner)
        self._rates = _cosine_rates(options.learning_rate, options.epochs)
        monitor = TrainingMonitor(
            "registration",
            "registering images",
            [options.epochs],
            math.ceil(len(images) / options.batch_size),
            len(images),
            advice=f"use a learning_rate below {options.learning_rate:g}",
        )
        optimizer = SGD(networks.parameters(), options.learning_rate, momentum=0.9)
        super().__init__(networks.train(), [optimizer], monitor)

    def train_epoch(self, number: int) -> dict[str, float]:
        self.optimizers[0].param_groups[0]["lr"] = self._rates[number - 1]
        lowest = min((epoch.loss for epoch in self.history), default=math.inf)
        total = 0.0
        for pairs in self.monitor.iterate(number, self._pairs()):
            loss = self._loss(pairs)
            self.step(loss)
            total += loss.item() * pairs.shape[1] / len(self.images)
        weights = self.networks.aligner.state_dict().values()
        if not all(tensor.isfinite().all() for tensor in weights):
            raise self.monitor.error("the weights became infinite")
        if total < lowest:
            self._best = _copy_of(self.networks.aligner)
        return {"registration": total}

    def best_aligner(self) -> FeatureAligner:
        """The aligner with its weights of the epoch with the lowest loss."""
        self.networks.aligner.load_state_dict(self._best)
        return self.networks.aligner

    def state_dict(self) -> dict[str, Tensor]:
        best = {f"best.{name}": tensor for name, tensor in self._best.items()}
        return super().state_dict() | best | {"generator": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Tensor], history: list[EpochMetrics]) -> None:
        super().load_state_dict(state, history)
        self._best = with_prefix("best.", state)
        self._generator.set_state(state["generator"])

    def resume_key(self) -> str:
        # The learning rates depend on the number of epochs, so a longer training is another one.
        digest = hashlib.sha256()
        for image in self.images:
            digest.update(f"{tuple(image.shape)}\n".encode())
            digest.update(image.contiguous().numpy().tobytes())
        images_sha256 = digest.hexdigest()
        return hash_of(self.options, self.seed, images_sha256, self.backbone.fingerprint())

    def to_dict(self) -> dict[str, Any]:
        history = [epoch.to_dict() for epoch in self.history]
        return {"registration": to_dict(self.options), "history": history}

    def plot(self) -> bytes:
        return plot_losses([epoch.losses for epoch in self.history])

    def _loss(self, pairs: Tensor) -> Tensor:
        pair_images = [self.images[index] for index in pairs.flatten().tolist()]
        aligned = self.networks.aligner(self.backbone, torch.stack(pair_images).to(self.device))
        encoded = self.networks.encoder(aligned.maps[-1])
        predicted = self.networks.predictor(encoded)
        similarity = _negative_cosine(predicted, encoded.detach())
        deviation = _deviation(aligned.transforms)
        return similarity + self.options.deviation_weight * deviation

    def _pairs(self) -> Iterator[Tensor]:
        """Batches (2, pair): every image once, and with it its neighbour in a random ring."""
        count = len(self.images)
        ring = torch.randperm(count, generator=self._generator)
        partners = torch.empty_like(ring).scatter_(0, ring, ring.roll(-1))
        order = torch.randperm(count, generator=self._generator)
        for first in order.split(self.options.batch_size):
            yield torch.stack([first, partners[first]])


def _cosine_rates(learning_rate: float, epochs: int) -> list[float]:
    """The learning rate of each epoch; the numbers of torch's CosineAnnealingLR, bit for bit."""
    rates = [learning_rate]
    for epoch in range(1, epochs):
        before = 1 + math.cos(math.pi * (epoch - 1) / epochs)
        rates.append((1 + math.cos(math.pi * epoch / epochs)) / before * rates[-1])
    return rates


def _copy_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def _negative_cosine(predicted: Features, encoded: Features) -> Tensor:
    """How unlike the prediction of each image is to its partner: −cos over channels, −1 at best.

    The first half of the batch are the partners of the second half, so the mean is that of both
    directions.
    """
    partners = encoded.roll(len(encoded) // 2, dims=0)
    return -functional.cosine_similarity(predicted, partners, dim=1).mean()


def _deviation(transforms: Sequence[Transforms]) -> Tensor:
    """Sum of the squares of what the transforms add to the identity, in the mean over images."""
    squares = []
    for transform in transforms:
        identity = torch.eye(2, 3, device=transform.device)
        squares.append((transform - identity).square().sum(dim=(1, 2)))
    return torch.stack(squares).sum(dim=0).mean()


def _pointwise(channels: int, depth: int) -> nn.Sequential:
    """1×1 convolutions of one width, batch norm and ReLU between them."""
    layers: list[nn.Module] = []
    for _ in range(depth - 1):
        layers.append(nn.Conv2d(channels, channels, 1, bias=False))
        layers.append(nn.BatchNorm2d(channels))
        layers.append(nn.ReLU())
    return nn.Sequential(*layers, nn.Conv2d(channels, channels, 1))
