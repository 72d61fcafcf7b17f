"""Fine-tune a backbone on a user's own parts.

Put a classifier behind it, train both, drop the classifier.

The third change of Li et al. (2025) to PatchCore, section 2.4. Their text gives cross-entropy,
stochastic gradient descent at 0.01 with momentum 0.9, images of 256×256 turned and mirrored, and a
new last layer. It leaves open what the classes are, how long, and what is done about batch
normalisation; `Transfer` says what is done here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from flawmap.errors import OptionError
from flawmap.features.backbone import Backbone
from flawmap.finetune.config import FineTuneConfig
from flawmap.finetune.dataset import LabelledBatch
from flawmap.support.progress import emit
from flawmap.support.tensors import Images, Indices
from flawmap.training.metrics import FineTuneEpoch
from flawmap.training.monitor import TrainingMonitor

MOMENTUM = 0.9
"""As the paper has it."""


@runtime_checkable
class ClassificationData(Protocol):
    """What there is to tell apart."""

    def __len__(self) -> int:
        """Count the images of an epoch."""

    def num_batches(self) -> int:
        """Count its batches."""

    def training_batches(self, epoch: int) -> Iterator[LabelledBatch]:
        """Give the images of an epoch in batches; the same epoch always gives the same ones."""

    def validation_batches(self) -> Iterator[LabelledBatch]:
        """Give images that are never trained on; always the same ones."""


class Classifier(nn.Module):
    """A backbone and one linear layer on the mean of its deepest map."""

    def __init__(self, backbone: Backbone, classes: int, transfer: FineTuneConfig) -> None:
        super().__init__()
        self.backbone, self.last = backbone, nn.Linear(backbone.channels[-1], classes)
        self._kept = transfer.batch_norm == "frozen"
        self.frozen = _up_to_stage(backbone, transfer.frozen_stages)
        for parameter in list(backbone.parameters())[self.frozen :]:
            parameter.requires_grad_(True)

    def forward(self, images: Images) -> Tensor:
        """Give the logits, (batch, class)."""
        logits: Tensor = self.last(self.backbone(images)[-1].mean(dim=(2, 3)))
        return logits

    def train(self, mode: bool = True) -> Classifier:
        """Switch to training; frozen stages and frozen batch statistics stay in evaluation mode."""
        super().train(mode)
        # Past the backbone itself, which never leaves eval mode.
        self.backbone.network.train(mode)
        for module in self.backbone.network.modules():
            parameters = list(module.parameters(recurse=False))
            if isinstance(module, nn.BatchNorm2d) and (
                self._kept or not parameters[0].requires_grad
            ):
                module.eval()
        return self


class FineTuneState:
    """Where a training stands: weights, momentum and what came of each epoch.

    All that is needed to go on.
    """

    def __init__(self, classifier: Classifier, transfer: FineTuneConfig) -> None:
        self.classifier, self.transfer = classifier, transfer
        self.history: list[FineTuneEpoch] = []
        learning = [parameter for parameter in classifier.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.SGD(learning, transfer.learning_rate, momentum=MOMENTUM)

    def state_dict(self) -> dict[str, Tensor]:
        """Give the tensors, on the CPU."""
        slots = self.optimizer.state_dict()["state"]
        momentum = {f"momentum.{number}": slot["momentum_buffer"] for number, slot in slots.items()}
        own = {
            f"classifier.{name}": tensor for name, tensor in self.classifier.state_dict().items()
        }
        return {name: tensor.cpu().contiguous() for name, tensor in (own | momentum).items()}

    def load_state_dict(self, state: Mapping[str, Tensor], history: list[FineTuneEpoch]) -> None:
        """Take back what `state` gave, and the epochs that led there."""
        own = {
            name.removeprefix("classifier."): state[name]
            for name in state
            if name.startswith("classifier.")
        }
        self.classifier.load_state_dict(own)
        numbers = [name.removeprefix("momentum.") for name in state if name.startswith("momentum.")]
        slots = {
            int(number): {"momentum_buffer": state[f"momentum.{number}"]} for number in numbers
        }
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": slots})
        self.history[:] = history


def build_classifier(
    backbone: Backbone, classes: int, transfer: FineTuneConfig, seed: int
) -> FineTuneState:
    """Put a new last layer behind a backbone, which the training will change.

    Raises:
        OptionError: as many stages are to be frozen as there are, or more.
    """
    device = next(backbone.parameters()).device
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        classifier = Classifier(backbone, classes, transfer)
    return FineTuneState(classifier.to(device), transfer)


def train(progress: FineTuneState, lessons: ClassificationData) -> Iterator[FineTuneEpoch]:
    """Train to the last epoch.

    Gives each epoch as it ends, and may be stopped and gone on with after any of them.

    Raises:
        TrainingError: the loss became infinite or no number.
    """
    epochs, steps = progress.transfer.epochs, lessons.num_batches()
    watch = TrainingMonitor(
        "Fine-tuning", "fine-tuning the backbone", [epochs], steps, len(lessons)
    )
    while (number := len(progress.history) + 1) <= epochs:
        started = time.perf_counter()
        loss, accuracy = _train_epoch(
            progress, watch.iterate(number, lessons.training_batches(number)), watch
        )
        checked = _validate(progress.classifier, lessons)
        progress.history.append(
            FineTuneEpoch(number, loss, accuracy, *checked, time.perf_counter() - started)
        )
        emit(progress.history[-1])
        yield progress.history[-1]


def _train_epoch(
    progress: FineTuneState, batches: Iterator[LabelledBatch], watch: TrainingMonitor
) -> tuple[float, float]:
    classifier, tally, rate = progress.classifier.train(), _Tally(), progress.transfer.learning_rate
    for images, labels in batches:
        loss = tally.add(_logits(classifier, images), labels)
        watch.check_loss(
            loss.item(), f"at a rate of {rate}; use a lower one, such as {rate / 10:g}"
        )
        progress.optimizer.zero_grad()
        loss.backward()
        progress.optimizer.step()
    return tally.means()


@torch.no_grad()
def _validate(classifier: Classifier, lessons: ClassificationData) -> tuple[float, float]:
    tally = _Tally()
    for images, labels in lessons.validation_batches():
        tally.add(_logits(classifier.eval(), images), labels)
    return tally.means()


def _logits(classifier: Classifier, images: Images) -> Tensor:
    logits: Tensor = classifier(images.to(classifier.last.weight.device))
    return logits


class _Tally:
    """Sums up loss and right answers."""

    def __init__(self) -> None:
        self.count, self.loss, self.right = 0, 0.0, 0

    def add(self, logits: Tensor, labels: Indices) -> Tensor:
        labels = labels.to(logits.device)
        loss = functional.cross_entropy(logits, labels)
        self.count += len(labels)
        self.loss += loss.item() * len(labels)
        self.right += int((logits.argmax(dim=1) == labels).sum())
        return loss

    def means(self) -> tuple[float, float]:
        return self.loss / self.count, self.right / self.count


def _up_to_stage(backbone: Backbone, stage: int) -> int:
    """Count the parameters from the input to the end of a stage.

    They come in the order in which they are used.
    """
    if not stage:
        return 0
    stages = backbone.stages()
    if stage >= len(stages):
        raise OptionError(
            f"{stage} stages of {len(stages)} cannot be frozen; use "
            f"frozen_stages={len(stages) - 1} or less"
        )
    ended = {id(parameter) for parameter in stages[stage - 1].parameters()}
    places = [
        place for place, parameter in enumerate(backbone.parameters()) if id(parameter) in ended
    ]
    return places[-1] + 1
