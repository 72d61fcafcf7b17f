"""What an epoch of a training gave, and how long the rest will take."""

from __future__ import annotations

from typing import NamedTuple


class FineTuneEpoch(NamedTuple):
    """What came of a round.

    Mean cross-entropy and share told right, on images trained on and on others.
    """

    number: int
    loss: float
    accuracy: float
    validation_loss: float
    validation_accuracy: float
    seconds: float

    def figures(self) -> dict[str, float]:
        """Name what is drawn over the epochs."""
        return {
            "loss/train": self.loss,
            "loss/validation": self.validation_loss,
            "accuracy/train": self.accuracy,
            "accuracy/validation": self.validation_accuracy,
        }


class TrainingEpoch(NamedTuple):
    """What came of an epoch of a method that is trained.

    Its losses by name, in the mean over steps.
    """

    number: int
    losses: dict[str, float]
    seconds: float

    @property
    def loss(self) -> float:
        """Their sum, which is what the training makes small."""
        return sum(self.losses.values())

    def figures(self) -> dict[str, float]:
        """Name what is drawn over the epochs."""
        return {"loss": self.loss} | {f"loss/{name}": value for name, value in self.losses.items()}


class TrainingForecast(NamedTuple):
    """How long the training will take, told after its first steps."""

    epochs: int
    images: int
    seconds: float
    what: str
