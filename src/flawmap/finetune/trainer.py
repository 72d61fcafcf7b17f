"""Fine-tunes a backbone before a method is fitted, and records what was done.

A classifier is put behind the backbone, both are trained, and the classifier is dropped: the third
change of Li et al. (2025) to PatchCore, section 2.4. Their text gives cross-entropy, stochastic
gradient descent at 0.01 with momentum 0.9, images of 256×256 turned and mirrored, and a new last
layer. It leaves open what the classes are, for how long, and what is done about batch
normalisation; `FineTuneConfig` says what is done here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import SGD

from flawmap.data.splits import sha256_of
from flawmap.engine.run import best_device
from flawmap.errors import DatasetError, OptionError
from flawmap.features.backbone import Backbone, BackboneSpec
from flawmap.finetune.classifier import Classifier, build_classifier
from flawmap.finetune.config import FineTuneConfig
from flawmap.finetune.dataset import FineTuneDataset, LabelledBatch
from flawmap.finetune.record import FineTuneRecord
from flawmap.render.curves import plot_finetuning
from flawmap.runtime.image_types import ImageInput
from flawmap.runtime.preprocess import Preprocessing
from flawmap.training.checkpoint import hash_of
from flawmap.training.loop import TrainingRun
from flawmap.training.monitor import TrainingMonitor


class FineTuned(NamedTuple):
    """The result of a fine-tuning.

    Args:
        backbone: the fine-tuned backbone, cut after the last layer that the method uses.
        record: settings, classes and epochs.
    """

    backbone: Backbone
    record: FineTuneRecord


def fine_tune(
    backbone: BackboneSpec,
    classes: Mapping[str, Sequence[ImageInput]],
    config: FineTuneConfig,
    *,
    seed: int = 0,
    white: int | None = None,
    checkpoint_dir: Path | None = None,
) -> FineTuned:
    """Fine-tune a backbone to tell classes of images apart.

    Args:
        backbone: the network, the layers that the method uses, and where the first weights come
            from. It is trained at its own strides, and dilated afterwards.
        classes: images by the name of their class. One class, of good images, is set against
            itself with painted defects.
        config: settings of the fine-tuning.
        seed: of all that is random.
        white: the level of white in images of 16 bits; None for 65535.
        checkpoint_dir: for a checkpoint after each epoch, from which the same training resumes if
            it was stopped, and for `history.json`, `curves.png` and TensorBoard's files. None
            keeps nothing.

    Raises:
        DatasetError: nothing to tell apart, or too few images.
        OptionError: settings that this backbone cannot have.
        TrainingError: the loss became infinite or not a number.
        WriteError: the folder cannot be written; what was there before still is.
    """
    _check_classes(classes, config)
    network = _with_classifier_layer(backbone, config)
    dataset = FineTuneDataset(
        classes,
        Preprocessing(config.image_size, config.image_size, network.mean, network.std, white=white),
        batch_size=config.batch_size,
        max_rotation=config.max_rotation,
        defect_types=config.defect_types,
        seed=seed,
    )
    classifier = build_classifier(network, len(dataset.names), config, seed)
    counts = {name: len(images) for name, images in classes.items()}
    excluded = _sha256_of_files(classes) if config.mode == "real-defects" else []
    record = FineTuneRecord(config, counts, excluded_sha256=excluded)
    FineTuning(classifier, dataset, record).run(checkpoint_dir)
    return FineTuned(backbone.build(network.weights()).to(best_device()), record)


@runtime_checkable
class _ClassificationData(Protocol):
    """Images by class, as `FineTuneDataset` has them."""

    def __len__(self) -> int:
        """Number of images of an epoch."""

    def num_batches(self) -> int:
        """Number of batches of an epoch."""

    def training_batches(self, epoch: int) -> Iterator[LabelledBatch]:
        """The images of an epoch in batches; the same epoch always gives the same ones.

        Args:
            epoch: its number, counted from 1.
        """

    def validation_batches(self) -> Iterator[LabelledBatch]:
        """Images that are never trained on; always the same ones."""

    def fingerprint(self) -> str:
        """Hash of classes, images and how they are varied."""


class FineTuning(TrainingRun[Classifier]):
    """The training of a classifier and the backbone in it.

    Args:
        classifier: as `build_classifier` gives it.
        data: images by class, in batches.
        record: names the settings; its history is filled.
    """

    def __init__(
        self, classifier: Classifier, data: _ClassificationData, record: FineTuneRecord
    ) -> None:
        self.data = data
        self.record = record
        self._training_means = _Means()
        rate = record.config.learning_rate
        trained = [parameter for parameter in classifier.parameters() if parameter.requires_grad]
        monitor = TrainingMonitor(
            "fine-tuning",
            "fine-tuning the backbone",
            [record.config.epochs],
            data.num_batches(),
            len(data),
            advice=f"use a learning_rate below {rate:g}, such as {rate / 10:g}",
        )
        super().__init__(classifier, [SGD(trained, rate, momentum=0.9)], monitor)
        self.history = record.history

    def train_epoch(self, number: int) -> dict[str, float]:
        """Train with every image once.

        Args:
            number: of the epoch, counted from 1.

        Returns:
            The mean cross-entropy.
        """
        self.networks.train()
        self._training_means = _Means()
        for images, labels in self.monitor.iterate(number, self.data.training_batches(number)):
            self.step(self._training_means.add(self._logits(images), labels))
        return {"cross-entropy": self._training_means.loss()}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Accuracy of the epoch; loss and accuracy of the images that are never trained on."""
        means = _Means()
        self.networks.eval()
        for images, labels in self.data.validation_batches():
            means.add(self._logits(images), labels)
        return {
            "accuracy": self._training_means.accuracy(),
            "validation_loss": means.loss(),
            "validation_accuracy": means.accuracy(),
        }

    def resume_key(self) -> str:
        """Hash of settings, images and first weights; a longer training is the same one."""
        settings = replace(self.record.config, epochs=1)
        return hash_of(settings, self.data.fingerprint(), self.networks.backbone.fingerprint())

    def to_dict(self) -> dict[str, Any]:
        """The record."""
        return self.record.to_dict()

    def plot(self) -> bytes:
        """Loss and accuracy over the epochs, as a PNG."""
        return plot_finetuning(self.to_dict()["history"])

    def _logits(self, images: Tensor) -> Tensor:
        logits: Tensor = self.networks(images.to(self.device))
        return logits


class _Means:
    """Mean loss and accuracy of the images so far."""

    def __init__(self) -> None:
        self._count = 0
        self._loss = 0.0
        self._correct = 0

    def add(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Count a batch; its loss."""
        labels = labels.to(logits.device)
        loss = functional.cross_entropy(logits, labels)
        self._count += len(labels)
        self._loss += loss.item() * len(labels)
        self._correct += int((logits.argmax(dim=1) == labels).sum())
        return loss

    def loss(self) -> float:
        return self._loss / self._count

    def accuracy(self) -> float:
        return self._correct / self._count


def _check_classes(classes: Mapping[str, Sequence[ImageInput]], config: FineTuneConfig) -> None:
    if config.mode != "synthetic" and len(classes) < 2:
        raise DatasetError(
            f"fine-tuning by {config.mode} tells classes apart and got "
            f"{', '.join(classes) or 'none'}; give two or more, or use synthetic, which needs only "
            "good images"
        )


def _with_classifier_layer(backbone: BackboneSpec, config: FineTuneConfig) -> Backbone:
    """Build the backbone anew, with the layer that the classifier sits on."""
    deepest = max(backbone.layers)
    classifier_layer = config.classifier_layer or deepest
    if classifier_layer < deepest:
        raise OptionError(
            f"a classifier on layer {classifier_layer} would leave layer {deepest} untrained; "
            "use that or a deeper one"
        )
    layers = *backbone.layers, classifier_layer
    return Backbone(backbone.name, layers, backbone.weights).to(best_device())


def _sha256_of_files(classes: Mapping[str, Sequence[ImageInput]]) -> list[str]:
    paths = []
    for images in classes.values():
        paths += [Path(image) for image in images if isinstance(image, str | PathLike)]
    return sorted(map(sha256_of, paths))
