"""What an epoch of a training gave, and how long the rest will take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class EpochMetrics(NamedTuple):
    """What one epoch gave; the same for fine-tuning, trained methods and registration.

    Args:
        number: of the epoch, counted from 1.
        losses: parts of the training loss by name, means over the epoch; their sum is minimised.
        seconds: duration of the epoch.
        accuracy: fraction of the training images that were classified correctly, 0…1; None where
            nothing is classified, as in the next two.
        validation_loss: mean loss of images that are never trained on.
        validation_accuracy: fraction of those that were classified correctly, 0…1.

    Example:
        >>> epoch = EpochMetrics(1, {"normal": 0.25, "painted": 0.5}, seconds=3.0)
        >>> epoch.loss
        0.75
        >>> EpochMetrics.from_dict(epoch.to_dict()) == epoch
        True
    """

    number: int
    losses: dict[str, float]
    seconds: float
    accuracy: float | None = None
    validation_loss: float | None = None
    validation_accuracy: float | None = None

    @property
    def loss(self) -> float:
        """Sum of the parts of the loss."""
        return sum(self.losses.values())

    def to_dict(self) -> dict[str, Any]:
        """The epoch as JSON can hold it, with the sum of the losses; `from_dict` reads it."""
        values = {name: value for name, value in self._asdict().items() if value is not None}
        return {**values, "loss": self.loss}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EpochMetrics:
        """The epoch of `to_dict`.

        Args:
            values: what `to_dict` gave.
        """
        return cls(**{name: value for name, value in values.items() if name != "loss"})

    def scalars(self) -> dict[str, float]:
        """The values that TensorBoard draws over the epochs, by name.

        >>> EpochMetrics(1, {"mse": 0.25}, 3.0).scalars()
        {'loss/train': 0.25}
        """
        parts = self.losses if len(self.losses) > 1 else {}
        measured = {
            "loss/train": self.loss,
            **{f"loss/{name}": part for name, part in parts.items()},
            "loss/validation": self.validation_loss,
            "accuracy/train": self.accuracy,
            "accuracy/validation": self.validation_accuracy,
        }
        return {name: value for name, value in measured.items() if value is not None}


class TrainingForecast(NamedTuple):
    """How long a training will take, estimated after its first steps.

    Args:
        epochs: number of epochs left in this phase.
        images: number of images in each.
        seconds: estimated duration of those epochs.
        what: is trained, as "Fine-tuning".
    """

    epochs: int
    images: int
    seconds: float
    what: str
