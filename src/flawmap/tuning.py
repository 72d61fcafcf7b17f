"""Fine-tune a method's backbone before the method learns: the training, and its record."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

from torch import Tensor

from flawmap.data.lessons import Lessons
from flawmap.data.splits import sha256_of
from flawmap.errors import DatasetError, OptionError
from flawmap.features.backbone import Backbone
from flawmap.features.transfer import Progress, Transfer, begin, train
from flawmap.methods.base import Method, best_device
from flawmap.options import from_json, to_json
from flawmap.prepare import Photo, Preparation
from flawmap.progress import Epoch
from flawmap.render.curves import draw_curves
from flawmap.training import Course


@dataclass(frozen=True)
class Tuning:
    """The record of a fine-tuning, as the saved inspector keeps it.

    Args:
        transfer: its settings.
        classes: how many pictures were trained on and checked with, by the name of their class.
        history: what came of each epoch.
        held_out: SHA-256 of the files of a test set that it was taught with; they can test nothing any more.
    """

    transfer: Transfer
    classes: dict[str, int]
    history: list[Epoch] = field(default_factory=list)
    held_out: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Say it in JSON; `Tuning.from_json` reads it back."""
        own = {"transfer": to_json(self.transfer), "classes": self.classes, "held_out": self.held_out}
        return own | {"history": [epoch._asdict() for epoch in self.history]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Tuning:
        """Read what `to_json` said."""
        history = [Epoch(**epoch) for epoch in values["history"]]
        return cls(from_json(values["transfer"], Transfer), values["classes"], history, values["held_out"])


def tune(
    method: Method, classes: Mapping[str, Sequence[Photo]], transfer: Transfer, folder: Path | None = None
) -> Tuning:
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
    preparation = Preparation(transfer.size, transfer.size, backbone.mean, backbone.std)
    batch, rotation, kinds = transfer.batch, transfer.rotation, transfer.kinds
    lessons = Lessons(classes, preparation, batch=batch, rotation=rotation, kinds=kinds, seed=method.seed)
    progress = begin(backbone, len(lessons.names), transfer, method.seed)
    counts = {name: len(photos) for name, photos in classes.items()}
    record = Tuning(transfer, counts, progress.history, _held_out(classes) if transfer.mode == "heldout" else [])
    _FineTuning(progress, lessons, record).run(folder)
    method.network = Backbone(method.backbone, method.layers, backbone.weights()).to(best_device())
    return record


def _with_head(method: Method, transfer: Transfer) -> Backbone:
    """Build the backbone anew, with the layer that the classifier sits on."""
    head = transfer.head or max(method.layers)
    if head < max(method.layers):
        raise OptionError(f"a head on layer {head} would leave layer {max(method.layers)} untaught; use that or deeper")
    return Backbone(method.backbone, (*method.layers, head), method.weights).to(best_device())


def _held_out(classes: Mapping[str, Sequence[Photo]]) -> list[str]:
    paths = [Path(one) for photos in classes.values() for one in photos if isinstance(one, str | PathLike)]
    return sorted(map(sha256_of, paths))


class _FineTuning(Course[Epoch]):
    """A fine-tuning, as a folder keeps it."""

    noun = "fine-tuning"

    def __init__(self, progress: Progress, lessons: Lessons, record: Tuning) -> None:
        self.progress, self.lessons, self.record = progress, lessons, record
        self.epochs, self.history = progress.transfer.epochs, progress.history

    def rounds(self) -> Iterator[Epoch]:
        return train(self.progress, self.lessons)

    def state(self) -> dict[str, Tensor]:
        return self.progress.state()

    def restore(self, state: Mapping[str, Tensor], history: list[Epoch]) -> None:
        self.progress.restore(state, history)

    def read(self, epoch: dict[str, Any]) -> Epoch:
        return Epoch(**epoch)

    def key(self) -> str:
        """Say in one hash what a training is about; how long it goes on is no part of it."""
        settings = replace(self.progress.transfer, epochs=1)
        about = (settings, self.lessons.fingerprint(), self.progress.classifier.backbone.fingerprint())
        return hashlib.sha256(repr(about).encode()).hexdigest()

    def report(self) -> dict[str, Any]:
        return self.record.to_json()

    def draw(self) -> bytes:
        return draw_curves(self.report()["history"])
