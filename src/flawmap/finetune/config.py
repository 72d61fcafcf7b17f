"""Settings of the fine-tuning; no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flawmap.errors import OptionError

_FineTuneMode = Literal["synthetic", "products", "real-defects", "leaky"]
"""What the classes are; see `FineTuneConfig`."""


@dataclass(frozen=True)
class FineTuneConfig:
    """How a backbone is fine-tuned.

    The defaults change the backbone little, for that costs the least accuracy (docs/finetuning.md).

    Args:
        mode: what the classes are. `synthetic`: good images and the same with painted defects.
            `products`: the products. `real-defects`: good images and some real defects, which no
            test may then use. `leaky`: good and defective images of the test set, which makes
            every metric on that set worthless; only to show by how much.
        epochs: passes over the images, > 0.
        learning_rate: of the stochastic gradient descent, > 0.
        batch_size: images a step, > 0.
        frozen_stages: stages of the network that stay as they are, counted from the input; 0
            trains all of it.
        batch_norm: `train` normalises by each batch and updates running statistics, as training
            usually does; `frozen` normalises as the pretrained network does.
        max_rotation: images are turned by up to so many degrees either way, >= 0.
        image_size: of the images, in pixels a side, 32 or more.
        classifier_layer: the layer under the classifier; None for the deepest that the method
            uses. 4 is the network's last, as in the paper, where all its weights are trained.
        defect_types: of painted defects, some of `flawmap.synthetic.defects.PAINTED_TYPES`; none
            named means all.

    Raises:
        OptionError: a value that cannot be.

    Example:
        >>> FineTuneConfig("products", epochs=3).learning_rate
        0.001
    """

    mode: _FineTuneMode = "synthetic"
    epochs: int = 5
    learning_rate: float = 0.001
    batch_size: int = 32
    frozen_stages: int = 2
    batch_norm: Literal["train", "frozen"] = "frozen"
    max_rotation: float = 10.0
    image_size: int = 256
    classifier_layer: int | None = None
    defect_types: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        positive = (self.epochs, self.learning_rate, self.batch_size)
        if min(positive) <= 0 or min(self.frozen_stages, self.max_rotation) < 0:
            raise OptionError(
                f"{self} cannot be trained with; use more than 0 for epochs, learning_rate and "
                "batch_size, and 0 or more for frozen_stages and max_rotation"
            )
        if self.image_size < 32:
            raise OptionError(
                f"fine-tuning at image_size={self.image_size} pixels a side is too small; use 32 "
                "or more"
            )


PAPER_CONFIG = FineTuneConfig(epochs=20, learning_rate=0.01, frozen_stages=0, batch_norm="train")
"""The settings of Li et al. (2025), section 2.4; where that is silent, the usual ones.

All layers are trained, with batch statistics.
"""
