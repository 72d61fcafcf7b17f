"""Bring all images of a product into one pose, inside the backbone.

Spatial transformers between its stages.

A reconstruction. FR-PatchCore (Jiang et al. 2024) says that it registers features as RegAD does
(Huang et al. 2022) but not with which layers or numbers; where it is silent, layers and numbers are
RegAD's, and no figure of either paper has been reproduced here. Only good images teach: the weights
kept are those with the lowest training loss, where RegAD's published code selects by the score on
the test set.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import reduce
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from flawmap.errors import DatasetError, OptionError
from flawmap.features.backbone import DEFAULT_BACKBONE
from flawmap.features.feature_extractor import FeatureExtractor
from flawmap.support.options import Components
from flawmap.support.progress import report_progress
from flawmap.support.tensors import Distances, Features, Images

TransformModel = Literal["rotation_scale", "affine"]

_IDENTITY: dict[TransformModel, tuple[float, ...]] = {
    "rotation_scale": (0, 1, 1),
    "affine": (1, 0, 0, 0, 1, 0),
}
"""The parameters that leave a map as it is: angle, scale across and scale down.

Or a 2×3 matrix row by row.
"""


class AlignedFeatures(NamedTuple):
    """What an aligner says about a batch."""

    maps: list[Features]
    """The maps of the backbone's layers, registered."""
    transforms: list[Tensor]
    """Where each transformer looked.

    (batch, 2, 3) per stage, a place of its result to the place it was taken from.
    """


class SpatialTransformer(nn.Module):
    """Looks at a map and says how to turn and stretch it (Jaderberg et al.

    2015, in RegAD's layout).

    Args:
        channels: of the map.
        places: of the map after two halvings, 14² of 56².
        mode: `rotation_scale` has an angle and a scale along each axis, `affine` all six numbers.
    """

    def __init__(self, channels: int, places: int, mode: TransformModel) -> None:
        super().__init__()
        self.look = nn.Sequential(
            *(
                nn.Conv2d(channels, 64, 3, padding=1, bias=False),
                nn.BatchNorm2d(64),
                nn.ReLU(),
                nn.MaxPool2d(3, 2, 1),
            ),
            *(
                nn.Conv2d(64, 16, 3, padding=1, bias=False),
                nn.BatchNorm2d(16),
                nn.ReLU(),
                nn.MaxPool2d(3, 2, 1),
            ),
        )
        last = nn.Linear(1024, len(_IDENTITY[mode]))
        with torch.no_grad():
            last.weight.zero_()
            last.bias.copy_(torch.tensor(_IDENTITY[mode]))
        self.decide = nn.Sequential(nn.Flatten(), nn.Linear(16 * places, 1024), nn.ReLU(), last)

    def forward(self, features: Features) -> Tensor:
        """Give the transform of each map.

        (batch, 2, 3), in units of half the map's width and height.
        """
        numbers: Tensor = self.decide(self.look(features))
        if numbers.shape[1] == 3:
            angle, across, down = numbers.unbind(dim=1)
            # An angle in pixels: in units of width and height a turn would shear a map that is not
            # square.
            aspect = features.shape[-1] / features.shape[-2]
            cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
            rows = [
                cos * across,
                -sin * down / aspect,
                zero,
                sin * across * aspect,
                cos * down,
                zero,
            ]
            numbers = torch.stack(rows, dim=1)
        return torch.unflatten(numbers, 1, (2, 3))


class FeatureAligner(nn.Module):
    """One transformer after each of the backbone's stages, from layer 1 to the deepest wanted one.

    Learned by pairs.
    """

    def __init__(self, transformers: Sequence[SpatialTransformer]) -> None:
        super().__init__()
        self.transformers = nn.ModuleList(transformers)

    def forward(self, backbone: FeatureExtractor, images: Images) -> AlignedFeatures:
        """Run the backbone with the transformers in it.

        It is as before afterwards, even after an error.
        """
        transforms: list[Tensor] = []

        def insert(transformer: nn.Module) -> Callable[..., Tensor]:
            def after(_stage: nn.Module, _came: object, features: Tensor) -> Tensor:
                transforms.append(transformer(features))
                return _resample(features, transforms[-1], "reflection")

            return after

        with ExitStack() as inserted:
            for stage, transformer in zip(backbone.stages(), self.transformers, strict=True):
                inserted.enter_context(stage.register_forward_hook(insert(transformer)))
            return AlignedFeatures(backbone(images), transforms)

    @staticmethod
    def to_image_frame(distances: Distances, transforms: Sequence[Tensor]) -> Distances:
        """Show each distance where it is in the image: undo the transforms, the last one first.

        All at once, so that the map is interpolated once. A place of the image that the registered
        one does not show was never looked at: it takes the value of the nearest place that was.
        Zeros would call it good, and a reflection would show one defect twice.
        """
        there = reduce(_after, transforms)
        return _resample(distances[:, None], _invert(there), "border")[:, 0]


def load_aligner(state: dict[str, Tensor]) -> FeatureAligner | None:
    """Rebuild what `Registration.fit` gave from its tensors; none mean no registration."""
    if not state:
        return None
    transformers: list[SpatialTransformer] = []
    # Without memory, so without drawing random numbers, until the tensors come.
    with torch.device("meta"):
        while (name := f"transformers.{len(transformers)}.") + "look.0.weight" in state:
            channels, flat = (
                state[name + "look.0.weight"].shape[1],
                state[name + "decide.1.weight"].shape[1],
            )
            mode: TransformModel = (
                "affine" if len(state[name + "decide.3.bias"]) == 6 else "rotation_scale"
            )
            transformers.append(SpatialTransformer(channels, flat // 16, mode))
    aligner = FeatureAligner(transformers)
    aligner.load_state_dict(state, assign=True)
    return aligner.eval().requires_grad_(False)


@dataclass(frozen=True)
class Registration(ABC):
    """Options of a registration; `fit` gives the module that registers."""

    @abstractmethod
    def fit(
        self, backbone: FeatureExtractor, batches: Iterable[Tensor], seed: int
    ) -> FeatureAligner | None:
        """Learn to register from good images of one product, all of one size.

        None where nothing is registered.

        Args:
            backbone: stays as it is.
            batches: the images, (batch, 3, height, width) each; gone round once.
            seed: of whatever is random.
        """


@dataclass(frozen=True)
class NoRegistration(Registration):
    """Take images as they lie."""

    def fit(
        self, backbone: FeatureExtractor, batches: Iterable[Tensor], seed: int
    ) -> FeatureAligner | None:
        """Give nothing."""
        del backbone, batches, seed
        return None


@dataclass(frozen=True)
class SpatialTransformerRegistration(Registration):
    """Spatial transformers that make pairs of images alike to the backbone's later stages (RegAD).

    Args:
        epochs: rounds over all images; in each, every image meets another one.
        rate: of the stochastic gradient descent in the first epoch; falls along a cosine to 0.
        batch: pairs at once; 32 take 2 GB at 224×224 in the default backbone.
        mode: what a transformer may do; see `Transformer`.
        stiffness: weight in the loss of the squares of what the transforms add to the identity.
            RegAD has none, but nothing else says which pose is the right one: on 24 drawn parts
            turned by up to 15°, in a ResNet-18 and in the default backbone, a rate of 0.01 without
            it led to turns of a hundred degrees, and with 0.1 to turns that undo the parts' own
            (correlation −0.98).
    """

    epochs: int = 50
    learning_rate: float = 1e-4
    batch_size: int = 32
    transform: TransformModel = "rotation_scale"
    deviation_weight: float = 0.1

    def __post_init__(self) -> None:
        if min(self.epochs, self.learning_rate, self.batch_size) <= 0 or self.deviation_weight < 0:
            raise OptionError(
                f"{self} cannot learn; use more than 0 of each number, or 0 for stiffness"
            )

    def fit(
        self, backbone: FeatureExtractor, batches: Iterable[Tensor], seed: int
    ) -> FeatureAligner:
        """Learn from pairs; holds all images in memory, 0.6 MB each at 224×224.

        Raises:
            DatasetError: fewer than two images.
            OptionError: the loss or the weights became infinite, or no transformer can be put into
                this backbone.
        """
        images = [image for batch in batches for image in batch]
        if len(images) < 2:
            raise DatasetError(
                f"registration learns from pairs of images and got {len(images)}; give two or "
                f"more, or do without it"
            )
        device = next(backbone.parameters()).device
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            aligner = FeatureAligner(
                _transformers(backbone, images[0].to(device), self.transform)
            ).to(device)
            encoder, predictor = (
                _pointwise(backbone.channels[-1], 3),
                _pointwise(backbone.channels[-1], 2),
            )
        learning = nn.ModuleList([aligner, encoder, predictor]).to(device).train()
        optimizer = torch.optim.SGD(learning.parameters(), self.learning_rate, momentum=0.9)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.epochs)
        generator = torch.Generator().manual_seed(seed)
        best, kept = math.inf, aligner.state_dict()
        for epoch in range(self.epochs):
            total = 0.0
            for pairs in self._pairs(len(images), epoch, generator):
                pair_images = torch.stack([images[place] for place in pairs.flatten().tolist()]).to(
                    device
                )
                aligned = aligner(backbone, pair_images)
                seen = encoder(aligned.maps[-1])
                loss = _negative_cosine(
                    predictor(seen), seen.detach()
                ) + self.deviation_weight * _deviation(aligned.transforms)
                # Before the way back: torch's grid_sample dies of such numbers there (pytorch issue
                # 24823).
                if not loss.isfinite():
                    raise self._broken(f"the loss became {loss.item()}", epoch)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item() * pairs.shape[1] / len(images)
            schedule.step()
            if not all(tensor.isfinite().all() for tensor in aligner.state_dict().values()):
                raise self._broken("the weights became infinite", epoch)
            if total < best:
                best, kept = (
                    total,
                    {name: tensor.clone() for name, tensor in aligner.state_dict().items()},
                )
        aligner.load_state_dict(kept)
        return aligner.eval().requires_grad_(False)

    def _broken(self, how: str, epoch: int) -> OptionError:
        return OptionError(
            f"registration: {how} in epoch {epoch + 1} at rate {self.learning_rate}; use a "
            f"smaller rate"
        )

    def _pairs(self, count: int, epoch: int, generator: torch.Generator) -> Iterator[Tensor]:
        """Give every image once, and with it another one, its neighbour in a random ring.

        (2, pair).
        """
        ring = torch.randperm(count, generator=generator)
        partner = torch.empty_like(ring).scatter_(0, ring, ring.roll(-1))
        batches = torch.randperm(count, generator=generator).split(self.batch_size)
        for done, first in enumerate(batches, start=epoch * len(batches)):
            report_progress("registering images", done, self.epochs * len(batches))
            yield torch.stack([first, partner[first]])
        report_progress(
            "registering images", (epoch + 1) * len(batches), self.epochs * len(batches)
        )


def _negative_cosine(predicted: Features, seen: Features) -> Tensor:
    """Compare what is predicted of each image with what is seen of its partner.

    −cos over channels, −1 at best.

    The first half of the batch are the partners of the second half; so the mean is that of both
    directions.
    """
    return -functional.cosine_similarity(predicted, seen.roll(len(seen) // 2, dims=0), dim=1).mean()


def _deviation(transforms: Sequence[Tensor]) -> Tensor:
    """Sum the squares of what the transforms add to the identity, in the mean over images."""
    each = [
        (transform - torch.eye(2, 3, device=transform.device)).square().sum(dim=(1, 2))
        for transform in transforms
    ]
    return torch.stack(each).sum(dim=0).mean()


def _pointwise(width: int, depth: int) -> nn.Sequential:
    """Stack 1×1 convolutions of one width, batch norm and ReLU between them."""
    between = [
        (nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        for _ in range(depth - 1)
    ]
    return nn.Sequential(
        *(layer for layers in between for layer in layers), nn.Conv2d(width, width, 1)
    )


def _unfit(backbone: FeatureExtractor) -> OptionError:
    return OptionError(
        f"no transformer can stand between the stages of {backbone.name}; use {DEFAULT_BACKBONE} "
        f"or a ResNet"
    )


def _transformers(
    backbone: FeatureExtractor, image: Tensor, mode: TransformModel
) -> list[SpatialTransformer]:
    """Make one for each stage, of the size that this image's maps have."""
    seen: list[Tensor] = []
    with torch.no_grad(), ExitStack() as inserted:
        for stage in backbone.stages():
            inserted.enter_context(
                stage.register_forward_hook(lambda _stage, _came, features: seen.append(features))
            )
        maps = backbone(image[None])
    given = (
        [seen[layer - 1] for layer in backbone.layers] if len(seen) == max(backbone.layers) else []
    )
    if list(map(id, given)) != list(map(id, maps)):
        raise _unfit(backbone)
    halved = [[math.ceil(side / 4) for side in features.shape[-2:]] for features in seen]
    return [
        SpatialTransformer(one.shape[1], math.prod(sides), mode)
        for one, sides in zip(seen, halved, strict=True)
    ]


def _resample(maps: Tensor, transform: Tensor, beyond: Literal["reflection", "border"]) -> Tensor:
    grid = functional.affine_grid(transform, list(maps.shape), align_corners=False)
    return functional.grid_sample(maps, grid, padding_mode=beyond, align_corners=False)


def _after(first: Tensor, then: Tensor) -> Tensor:
    """Say where a place of the twice transformed map was before both transforms."""
    linear, shift = first[..., :2], first[..., 2:]
    return torch.cat([linear @ then[..., :2], linear @ then[..., 2:] + shift], dim=-1)


def _invert(transform: Tensor) -> Tensor:
    (a, b), (c, d) = (row.unbind(dim=-1) for row in transform[..., :2].unbind(dim=-2))
    # Written out, since exporters know no inverse; a map pressed flat cannot be spread again, but
    # gives finite numbers.
    size = a * d - b * c
    size = torch.where(size.abs() < 1e-3, 1e-3, size)
    linear = torch.stack([d, -b, -c, a], dim=-1).unflatten(-1, (2, 2)) / size[..., None, None]
    return torch.cat([linear, -linear @ transform[..., 2:]], dim=-1)


REGISTRATIONS = Components(
    "registration", Registration, [NoRegistration, SpatialTransformerRegistration]
)
"""All registrations by name; other packages may add theirs."""
