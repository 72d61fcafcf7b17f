"""Fine-tunes a backbone before a method is fitted, and records what was done."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from flawmap.data.splits import sha256_of
from flawmap.engine.run import best_device
from flawmap.errors import DatasetError, OptionError
from flawmap.features.backbone import Backbone
from flawmap.finetune.classifier import FineTuneState, build_classifier, train
from flawmap.finetune.config import FineTuneConfig
from flawmap.finetune.dataset import FineTuneDataset
from flawmap.finetune.record import FineTuneRecord
from flawmap.render.curves import plot_finetuning
from flawmap.runtime.preprocess import ImageInput, Preprocessing
from flawmap.training.loop import TrainingRun
from flawmap.training.metrics import FineTuneEpoch


class FineTuned(NamedTuple):
    """What a fine-tuning gives."""

    backbone: Backbone
    """The tuned backbone, cut after the last layer that the method uses."""
    record: FineTuneRecord


def fine_tune(
    backbone: str,
    layers: tuple[int, ...],
    weights: str | None,
    classes: Mapping[str, Sequence[ImageInput]],
    config: FineTuneConfig,
    *,
    seed: int = 0,
    checkpoint_dir: Path | None = None,
) -> FineTuned:
    """Fine-tune a backbone to tell classes of images apart.

    Args:
        backbone: timm name of the network.
        layers: layers that the method uses, counted from 1, fine to coarse.
        weights: where the first weights come from; see `Backbone`.
        classes: images by the name of their class. One class, of good images, is set against
            itself with painted defects.
        config: the settings.
        seed: of all that is random.
        checkpoint_dir: for a checkpoint after each epoch, from which the same training resumes if
            it was stopped, and for `history.json`, `curves.png` and TensorBoard's files. None
            keeps nothing.

    Raises:
        DatasetError: nothing to tell apart, or too few images.
        OptionError: settings that this backbone cannot have.
        TrainingError: the loss became infinite or not a number.
        WriteError: the folder cannot be written; what was there before still is.
    """
    if config.mode != "synthetic" and len(classes) < 2:
        raise DatasetError(
            f"fine-tuning by {config.mode} tells classes apart and got "
            f"{', '.join(classes) or 'none'}; give two or more, or use synthetic, which needs only "
            "good images"
        )
    network = _with_classifier_layer(backbone, layers, weights, config)
    dataset = FineTuneDataset(
        classes,
        Preprocessing(config.image_size, config.image_size, network.mean, network.std),
        batch=config.batch_size,
        rotation=config.max_rotation,
        kinds=config.defect_types,
        seed=seed,
    )
    state = build_classifier(network, len(dataset.names), config, seed)
    counts = {name: len(images) for name, images in classes.items()}
    excluded = _sha256_of_files(classes) if config.mode == "real-defects" else []
    record = FineTuneRecord(config, counts, state.history, excluded)
    _FineTuning(state, dataset, record).run(checkpoint_dir)
    return FineTuned(Backbone(backbone, layers, network.weights()).to(best_device()), record)


def _with_classifier_layer(
    backbone: str, layers: tuple[int, ...], weights: str | None, config: FineTuneConfig
) -> Backbone:
    """Build the backbone anew, with the layer that the classifier sits on."""
    deepest = max(layers)
    classifier_layer = config.classifier_layer or deepest
    if classifier_layer < deepest:
        raise OptionError(
            f"a classifier on layer {classifier_layer} would leave layer {deepest} untrained; "
            "use that or a deeper one"
        )
    return Backbone(backbone, (*layers, classifier_layer), weights).to(best_device())


def _sha256_of_files(classes: Mapping[str, Sequence[ImageInput]]) -> list[str]:
    paths = [
        Path(image)
        for images in classes.values()
        for image in images
        if isinstance(image, str | PathLike)
    ]
    return sorted(map(sha256_of, paths))


class _FineTuning(TrainingRun[FineTuneEpoch]):
    """A fine-tuning, as a folder keeps it."""

    noun = "fine-tuning"

    def __init__(
        self, progress: FineTuneState, lessons: FineTuneDataset, record: FineTuneRecord
    ) -> None:
        self.progress, self.lessons, self.record = progress, lessons, record
        self.epochs, self.history = progress.transfer.epochs, progress.history

    def run_epochs(self) -> Iterator[FineTuneEpoch]:
        return train(self.progress, self.lessons)

    def state_dict(self) -> dict[str, Tensor]:
        return self.progress.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor], history: list[FineTuneEpoch]) -> None:
        self.progress.load_state_dict(state, history)

    def parse_epoch(self, epoch: dict[str, Any]) -> FineTuneEpoch:
        return FineTuneEpoch(**epoch)

    def resume_key(self) -> str:
        """Say in one hash what a training is about; how long it goes on is no part of it."""
        settings = replace(self.progress.transfer, epochs=1)
        about = (
            settings,
            self.lessons.fingerprint(),
            self.progress.classifier.backbone.fingerprint(),
        )
        return hashlib.sha256(repr(about).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        return self.record.to_dict()

    def plot(self) -> bytes:
        return plot_finetuning(self.to_dict()["history"])
