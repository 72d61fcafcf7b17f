"""Registration: all images of a product are brought into one pose, inside the backbone.

A reconstruction. FR-PatchCore (Jiang et al. 2024) says that it registers features as RegAD does
(Huang et al. 2022) but not with which layers or numbers; where it is silent, layers and numbers are
RegAD's, and no figure of either paper has been reproduced here. Only good images are trained on:
the weights kept are those with the lowest training loss, where RegAD's published code selects by
the score on the test set.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from flawmap.errors import DatasetError, OptionError
from flawmap.features.feature_extractor import FeatureExtractor
from flawmap.features.registration_run import train_registration
from flawmap.features.spatial_transformer import FeatureAligner, TransformModel
from flawmap.support.options import Components


@dataclass(frozen=True)
class Registration(ABC):
    """Options of a registration; `fit` gives the module that registers."""

    @abstractmethod
    def fit(
        self,
        backbone: FeatureExtractor,
        batches: Iterable[Tensor],
        seed: int,
        folder: Path | None = None,
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
        self,
        backbone: FeatureExtractor,
        batches: Iterable[Tensor],
        seed: int,
        folder: Path | None = None,
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
        self,
        backbone: FeatureExtractor,
        batches: Iterable[Tensor],
        seed: int,
        folder: Path | None = None,
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
        return train_registration(self, backbone, images, seed, folder)


REGISTRATIONS = Components(
    "registration", Registration, [NoRegistration, SpatialTransformerRegistration]
)
"""All registrations by name; other packages may add theirs."""
