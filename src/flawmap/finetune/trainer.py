"""Fine-tune a method's backbone before the method learns: the training, and its record."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from torch import Tensor

from flawmap.data.splits import sha256_of
from flawmap.engine.run import best_device
from flawmap.errors import DatasetError, OptionError
from flawmap.features.backbone import Backbone
from flawmap.finetune.classifier import FineTuneState, build_classifier, train
from flawmap.finetune.config import FineTuneConfig
from flawmap.finetune.dataset import FineTuneDataset
from flawmap.finetune.record import FineTuneRecord
from flawmap.methods.base import Method
from flawmap.render.curves import plot_finetuning
from flawmap.runtime.preprocess import ImageInput, Preprocessing
from flawmap.training.loop import TrainingRun
from flawmap.training.metrics import FineTuneEpoch


def fine_tune(
    method: Method, classes: Mapping[str, Sequence[ImageInput]], transfer: FineTuneConfig, folder: Path | None = None
) -> FineTuneRecord:
    """Fine-tune the backbone of a method that has not learned yet; the method then has the tuned one.

    Args:
        method: its seed is the training's.
        classes: pictures by the name of their class. One class, of good pictures, is set against itself with painted
            defects.
        transfer: the settings.
        folder: for a checkpoint after each epoch, from which the same training goes on if it was stopped, and for the
            figures: `history.json`, `curves.png` and TensorBoard's files. None keeps nothing.

    Raises:
        DatasetError: nothing to tell apart, or too few pictures.
        OptionError: settings that this backbone cannot have.
        TrainingError: the loss became infinite or no number.
        WriteError: the folder cannot be written; what was there before still is.
    """
    if transfer.mode != "synthetic" and len(classes) < 2:
        raise DatasetError(
            f"fine-tuning by {transfer.mode} tells classes apart and got {', '.join(classes) or 'none'}; give two or "
            "more, or use synthetic, which needs only good pictures"
        )
    backbone = _with_head(method, transfer)
    preparation = Preprocessing(transfer.image_size, transfer.image_size, backbone.mean, backbone.std)
    batch, rotation, kinds = transfer.batch_size, transfer.max_rotation, transfer.defect_types
    lessons = FineTuneDataset(classes, preparation, batch=batch, rotation=rotation, kinds=kinds, seed=method.seed)
    progress = build_classifier(backbone, len(lessons.names), transfer, method.seed)
    counts = {name: len(photos) for name, photos in classes.items()}
    record = FineTuneRecord(transfer, counts, progress.history, _held_out(classes) if transfer.mode == "real-defects" else [])
    _FineTuning(progress, lessons, record).run(folder)
    method.feature_extractor = Backbone(method.backbone, method.layers, backbone.weights()).to(best_device())
    return record


def _with_head(method: Method, transfer: FineTuneConfig) -> Backbone:
    """Build the backbone anew, with the layer that the classifier sits on."""
    head = transfer.classifier_layer or max(method.layers)
    if head < max(method.layers):
        raise OptionError(f"a head on layer {head} would leave layer {max(method.layers)} untaught; use that or deeper")
    return Backbone(method.backbone, (*method.layers, head), method.weights).to(best_device())


def _held_out(classes: Mapping[str, Sequence[ImageInput]]) -> list[str]:
    paths = [Path(one) for photos in classes.values() for one in photos if isinstance(one, str | PathLike)]
    return sorted(map(sha256_of, paths))


class _FineTuning(TrainingRun[FineTuneEpoch]):
    """A fine-tuning, as a folder keeps it."""

    noun = "fine-tuning"

    def __init__(self, progress: FineTuneState, lessons: FineTuneDataset, record: FineTuneRecord) -> None:
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
        about = (settings, self.lessons.fingerprint(), self.progress.classifier.backbone.fingerprint())
        return hashlib.sha256(repr(about).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        return self.record.to_dict()

    def plot(self) -> bytes:
        return plot_finetuning(self.to_dict()["history"])
