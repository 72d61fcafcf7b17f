"""Settings of the fine-tuning; no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flawmap.errors import OptionError

FineTuneMode = Literal["synthetic", "products", "real-defects", "leaky"]


@dataclass(frozen=True)
class FineTuneConfig:
    """How a backbone is fine-tuned.

    Unless told otherwise gently, for that costs the least (docs/finetuning.md).

    Args:
        mode: what the classes are. `synthetic`: good images and the same with painted defects.
            `product`: the products. `heldout`: good images and some real defects, which no test may
            then use. `leaky`: good and defective images of the test set, which makes every figure
            on that set worthless; only to show by how much.
        epochs: rounds over the images.
        rate: of the gradient descent.
        batch: images a step.
        frozen: stages of the network that stay as they are, counted from the input; 0 trains all of
            it.
        statistics: `batch` normalises by each batch and learns running statistics, as training
            usually does; `kept` normalises as the pretrained network does.
        rotation: images are turned by up to so many degrees either way.
        size: of the images, in pixels a side.
        head: the layer under the classifier; None for the deepest that the method uses. 4 is the
            network's last, as in the paper, where the weights reach it.
        kinds: of painted defects, some of `flawmap.data.defects.KINDS`; none named means all.
    """

    mode: FineTuneMode = "synthetic"
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
        if (
            min(self.epochs, self.learning_rate, self.batch_size) <= 0
            or min(self.frozen_stages, self.max_rotation) < 0
        ):
            raise OptionError(
                f"{self} cannot learn; use more than 0 epochs, rate and batch, and 0 or more of "
                f"the rest"
            )
        if self.image_size < 32:
            raise OptionError(
                f"fine-tuning at {self.image_size} pixels a side is too small; use 32 or more"
            )


PAPER_CONFIG = FineTuneConfig(epochs=20, learning_rate=0.01, frozen_stages=0, batch_norm="train")
"""Li et al. (2025), section 2.4, and where that is silent the usual.

All layers, batch statistics.
"""
