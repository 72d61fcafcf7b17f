"""The training of a registration, as `training/loop.py` runs it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD

from flawmap.features.feature_extractor import FeatureExtractor
from flawmap.features.spatial_transformer import FeatureAligner, make_aligner
from flawmap.features.tensor_shapes import Transforms
from flawmap.support.options import to_dict
from flawmap.support.tensors import Features
from flawmap.training.checkpoint import hash_of, with_prefix
from flawmap.training.loop import TrainingRun
from flawmap.training.metrics import EpochMetrics
from flawmap.training.monitor import TrainingMonitor

if TYPE_CHECKING:
    from flawmap.features.registration import SpatialTransformerRegistration


def train_registration(
    options: SpatialTransformerRegistration,
    backbone: FeatureExtractor,
    images: list[Tensor],
    seed: int,
    folder: Path | None,
) -> FeatureAligner:
    """The aligner that was trained on pairs of images.

    Args:
        options: settings of the registration.
        backbone: stays as it is.
        images: two or more, (3, height, width) each.
        seed: of weights and pairs.
        folder: for checkpoints to resume from, and curves; None keeps nothing.

    Raises:
        OptionError: no transformer can be put into this backbone.
        TrainingError: the loss or the weights became infinite or not a number.
        WriteError: the folder cannot be written.
    """
    device = next(backbone.parameters()).device
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        aligner = make_aligner(backbone, images[0].to(device), options.transform)
        networks = _SiameseNetworks(aligner, backbone.channels[-1])
    training = _RegistrationTraining(options, networks.to(device), backbone, images, seed)
    training.run(folder)
    return training.best_aligner().eval().requires_grad_(False)


class _SiameseNetworks(nn.Module):
    """What is trained: the aligner, and two stacks of 1×1 convolutions that go afterwards.

    Args:
        aligner: brings the maps of both images of a pair into one pose.
        channels: of the backbone's deepest map.
    """

    def __init__(self, aligner: FeatureAligner, channels: int) -> None:
        super().__init__()
        self.aligner = aligner
        self.encoder = _pointwise(channels, 3)
        self.predictor = _pointwise(channels, 2)


class _RegistrationTraining(TrainingRun[_SiameseNetworks]):
    """The training of one registration.

    Pairs come from one generator that goes on from epoch to epoch, so its state is in the
    checkpoint. The weights of the epoch with the lowest loss are kept.

    Args:
        options: settings of the registration.
        networks: to be trained, on the device where they are trained.
        backbone: stays as it is.
        images: all of them, (3, height, width) each.
        seed: of the pairs.
    """

    def __init__(
        self,
        options: SpatialTransformerRegistration,
        networks: _SiameseNetworks,
        backbone: FeatureExtractor,
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
        """Train with each image in two pairs.

        Args:
            number: of the epoch, counted from 1.

        Returns:
            The mean loss over images.

        Raises:
            TrainingError: loss or weights became infinite or not a number.
        """
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
        """Weights, optimizer state, the best weights and the generator's state."""
        best = {f"best.{name}": tensor for name, tensor in self._best.items()}
        return super().state_dict() | best | {"generator": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Tensor], history: list[EpochMetrics]) -> None:
        """Take over the state of a training that was stopped.

        Args:
            state: what `state_dict` gave.
            history: the epochs that led there.
        """
        super().load_state_dict(state, history)
        self._best = with_prefix("best.", state)
        self._generator.set_state(state["generator"])

    def resume_key(self) -> str:
        """Hash of options, seed, images and backbone.

        The learning rates depend on the number of epochs, so a longer training is another one.
        """
        digest = hashlib.sha256()
        for image in self.images:
            digest.update(f"{tuple(image.shape)}\n".encode())
            digest.update(image.contiguous().numpy().tobytes())
        images_sha256 = digest.hexdigest()
        return hash_of(self.options, self.seed, images_sha256, self.backbone.fingerprint())

    def to_dict(self) -> dict[str, Any]:
        """Options and epochs."""
        history = [epoch.to_dict() for epoch in self.history]
        return {"registration": to_dict(self.options), "history": history}

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
